"""Programs and procedures of a set of definitions, how a set is compiled at run time, and its history."""
