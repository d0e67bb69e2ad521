"""Other engines at the same work, each set up as its documentation recommends, and with its default durability."""
