"""Time, memory and size of trained models: the command `bench`, and the columns measured after training."""
