"""SFT rows: responses from an endpoint, checked; longer conversations; tool calls; repairs."""
