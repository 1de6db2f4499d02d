"""What the facts state of the noise, as its recipe says it."""

from dataclasses import replace
from fractions import Fraction

from rem_release.radius import format_radius, whole_levels
from rem_release.recipe import Eot, Recipe
from rem_release.release.facts import EotFacts, ProtectionFacts


def describe_protection(recipe: Recipe, generator_reused: bool) -> ProtectionFacts:
    """The recipe's part of the facts."""
    noise, is_random = recipe.noise, recipe.noise.method == "random"
    if is_random:  # none of this had a part in it
        nothing = Fraction(0)
        noise = replace(
            noise, steps=0, step_size=nothing, rho_a=nothing, adversary_steps=0, adversary_step_size=nothing
        )
        noise = replace(noise, eot=Eot(transform="none", samples=1))
    return ProtectionFacts(
        method=noise.method,
        rho_u=format_radius(noise.rho_u),
        rho_u_levels=whole_levels(noise.rho_u),
        rho_a=format_radius(noise.rho_a),
        steps=noise.steps,
        step_size=format_radius(noise.step_size),
        adversary_steps=noise.adversary_steps,
        adversary_step_size=format_radius(noise.adversary_step_size),
        eot=EotFacts(transform=noise.eot.transform, samples=noise.eot.samples),
        source_model=None if is_random else recipe.generator.model,
        generator_steps=0 if is_random else recipe.generator.steps,
        generator_reused=generator_reused,
        resolution=recipe.data.resolution,
    )
