"""How well running out of stock is foretold, against demand whose true chances are known."""
