"""The features, called directly: branches and pure logic; the doors have tests of their own."""
