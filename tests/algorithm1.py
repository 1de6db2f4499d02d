"""Algorithm 1 and Huang et al.'s EM written out plainly: one image, one draw at a time, no helper of the product.

Only the random numbers come from outside, because both sides must draw the same.
"""

import torch
import torch.nn.functional as F


def clip(delta, x, rho):
    return torch.max(
        torch.min(delta, torch.min(torch.full_like(x, rho), 1 - x)), torch.max(torch.full_like(x, -rho), -x)
    )


def loss_gradient(model, point, y):
    point = point.clone().requires_grad_()
    F.cross_entropy(model(point[None]), y[None]).backward()
    return point.grad


def plain_pgd(model, x, y, rho, alpha, steps, start):
    delta = clip(start, x, rho)
    for _ in range(steps):
        delta = clip(delta + alpha * loss_gradient(model, x + delta, y).sign(), x, rho)
    return delta


def cifar(image, numbers):
    """Flip, pad by R/8, crop. numbers: three in (0, 1)."""
    size = image.shape[-1]
    pad = max(1, size // 8)
    if numbers[0] < 0.5:
        image = image.flip(-1)
    padded = F.pad(image, (pad, pad, pad, pad))
    top, left = (int(number * (2 * pad + 1)) for number in numbers[1:3])
    return padded[:, top : top + size, left : left + size]


def there_and_back(delta, size):
    """The noise brought to an image's own (height, width) and back; size None: the image has the grid's size."""
    if size is None:
        return delta
    for target in (size, tuple(delta.shape[1:])):
        delta = F.interpolate(delta[None], size=target, mode="bilinear", antialias=True, align_corners=False)[0]
    return delta


def plain_noise(model, x, y, s, start, transform_numbers, adversary_starts, size=None):
    """Lines 8 to 16 for one image. transform_numbers[k][j] and adversary_starts[k][j] are that draw's numbers."""
    delta_u = clip(start, x, s.rho_u)
    for k in range(s.K_u):
        g = torch.zeros_like(x)
        for j in range(s.J):
            numbers = transform_numbers[k][j]

            def t(image, numbers=numbers):
                return cifar(image, numbers) if s.transform == "cifar" else image

            z = t(x + there_and_back(delta_u, size))
            if s.rho_a == 0:
                delta_a = torch.zeros_like(z)
            elif s.inner == "uniform":
                delta_a = clip(adversary_starts[k][j], z, s.rho_a)
            else:
                delta_a = plain_pgd(model, z, y, s.rho_a, s.alpha_a, s.K_a, adversary_starts[k][j])
            moving = delta_u.clone().requires_grad_()
            F.cross_entropy(model((t(x + there_and_back(moving, size)) + delta_a)[None]), y[None]).backward()
            g = g + moving.grad / s.J
        delta_u = clip(delta_u - s.alpha_u * g.sign(), x, s.rho_u)
    return torch.round(delta_u * 255)


def plain_step_loss(model, images, labels, s, levels, transform_numbers, adversary_starts, sizes):
    """Lines 17 to 19 for a batch: δ_a always by PGD, under the model at rest; then the loss of the training model."""
    points = []
    model.eval()
    for x, y, level, numbers, start, size in zip(
        images, labels, levels, transform_numbers, adversary_starts, sizes, strict=True
    ):
        seen = (x + there_and_back(level / 255, size)).clamp(0, 1)
        z = cifar(seen, numbers) if s.transform == "cifar" else seen
        points.append(z + plain_pgd(model, z, y, s.rho_a, s.alpha_a, s.K_a, start))
    model.train()
    return F.cross_entropy(model(torch.stack(points)), labels)


def plain_em(model, x, y, rho_u, alpha_u, steps, start):
    """Error-minimizing noise (Huang et al., ICLR 2021) for one image."""
    noise = clip(start, x, rho_u)
    for _ in range(steps):
        point = (x + noise).clone().requires_grad_()
        F.cross_entropy(model(point[None]), y[None]).backward()
        noise = clip(noise - alpha_u * point.grad.sign(), x, rho_u)
    return torch.round(noise * 255)
