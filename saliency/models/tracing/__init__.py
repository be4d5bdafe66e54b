"""How a traced function becomes a graph: equations, pieces, rules for each primitive, and their assembly."""
