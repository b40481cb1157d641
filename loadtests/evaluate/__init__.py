"""What the models are judged on: origins that roll over a past that they have not seen."""
