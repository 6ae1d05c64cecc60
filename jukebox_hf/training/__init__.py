"""Dataset -> trainer -> checkpoint: training codecs and priors, fine-tuning, evaluation.

`TrainingSettings` says what a run is, `JukeboxTrainer` runs it, `evaluate_model` says how good a
model is. Accelerate is imported only with the trainer.
"""
