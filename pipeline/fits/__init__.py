"""Who trains the fits of stage 2: this process, one shard of several processes, or actors on a Ray cluster."""
