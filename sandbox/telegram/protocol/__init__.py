"""What a call and an answer of the Bot API are made of."""
