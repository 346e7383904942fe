module example.org/quote
