"""One run: configuration, trainers, checkpoints, metrics."""

import logging

# SpeechBrain's module of train logs warns at its import that it cannot save
# figures. Nothing here saves figures with it.
logging.getLogger("speechbrain.utils.train_logger").addFilter(
    lambda record: "torchvision is not available" not in record.getMessage()
)
