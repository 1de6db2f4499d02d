"""What the facts state of the noise, as its recipe says it."""

from rem_release.radius import format_radius, whole_levels
from rem_release.recipe import Recipe
from rem_release.release.facts import ProtectionFacts

_NOTHING = {"steps": 0, "step_size": "0", "adversary_steps": 0, "adversary_step_size": "0"}


def describe_protection(recipe: Recipe, generator_reused: bool) -> ProtectionFacts:
    """The recipe's part of the facts; what its method does not have is 0, and what it describes itself comes first."""
    noise = recipe.noise
    generator = recipe.generator if noise.trains else None
    stated = {
        **_NOTHING,
        "method": noise.method,
        "rho_u": format_radius(noise.rho_u),
        "rho_u_levels": whole_levels(noise.rho_u),
        "rho_a": format_radius(noise.withstands),
        "source_model": generator.model if generator else None,
        "generator_steps": generator.steps if generator else 0,
        "generator_reused": generator_reused,
        "resolution": recipe.data.resolution,
        "precision": recipe.precision if noise.trains else None,
    }
    return ProtectionFacts.model_validate({**stated, **noise.describe()})
