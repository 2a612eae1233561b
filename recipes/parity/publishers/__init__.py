"""One module per publisher, with a function `embed`; it runs in a process that has the publisher's packages."""
