"""A rebuild of a group that has one read model, `orders`."""

from loadtests.contenders.rebuild import main

if __name__ == "__main__":
    main(1)
