"""How others write what the contract has one way for, and what of that can be taken."""
