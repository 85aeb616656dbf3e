"""What a person sees and does, as a pure state machine."""
