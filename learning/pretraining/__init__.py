"""How the built-in model was made: its dialogues, tokenizer, training and card."""
