"""Imputation compared with pytorch-grad-cam."""

import numpy as np
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer

from gradcam_core.metrics.imputation import impute


def test_imputation_is_that_of_pytorch_grad_cam() -> None:
    rng = np.random.default_rng(0)
    values, removed = rng.random((30, 40, 3)), rng.random((30, 40)) < 0.7
    removed[:10, :20] = True
    filled = impute(values, removed)
    picture, kept = torch.tensor(values).permute(2, 0, 1), torch.tensor(~removed)
    expected = NoisyLinearImputer(noise=0.0)(picture.float(), kept.float())
    assert np.abs(filled - expected.permute(1, 2, 0).numpy()).max() < 1e-5
    assert np.array_equal(filled[~removed], values[~removed])
    assert np.allclose(impute(values, np.ones((30, 40), bool)), values.mean((0, 1)))
