"""Background in stage 2: its windows in training, and what trained heads say about the others."""
