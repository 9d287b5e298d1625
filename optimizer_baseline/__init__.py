"""Neural style transfer the slow, exact way: optimise the pixels against VGG costs (Gatys et al. 2016)."""
