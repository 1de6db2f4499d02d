"""Pure tensor mathematics of the noise. No files, no clock, no printing, no global random state.

Legend (paper Eq. 5, Algorithm 1): `delta_u` defensive noise within `rho_u`, `K_u` steps of `alpha_u`; `delta_a`
adversarial perturbation within `rho_a`, `K_a` steps of `alpha_a`; `J` draws of the transformation a step.
Images are float32 [N, 3, R, R] in [0, 1]; labels int64 [N].
"""
