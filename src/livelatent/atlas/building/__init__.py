"""How a store is made of sources: checked, shuffled and written in bounded memory, gone on with after a kill."""
