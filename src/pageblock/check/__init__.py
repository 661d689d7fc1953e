"""Finding what goes wrong: the shortest sequence of operations under which one set of rules fails and another does not."""
