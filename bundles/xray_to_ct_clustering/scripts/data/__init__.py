"""Training data: patients, their variation, and X-rays rendered from them."""
