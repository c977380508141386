"""Schedules: golden values, grids of timesteps, and what every schedule keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reddiff_jax import schedules
from reddiff_jax.schedules import Schedule

PRESERVING = {
    "linear": schedules.linear,
    "quad": schedules.quad,
    "const": schedules.const,
    "jsd": schedules.jsd,
    "sigmoid": schedules.sigmoid,
    "cosine": schedules.cosine,
    "laplace": schedules.laplace,
    "zero_terminal_snr": lambda total=1000: schedules.zero_terminal_snr(schedules.linear(total + 1)),
}
STRAIGHT = {
    "rectified_flow": schedules.rectified_flow,
    "rectified_flow_shifted": lambda total=1000: schedules.rectified_flow(total, shift=3.0),
}
EXPLODING = {"ve": schedules.ve, "edm": schedules.edm}

EVERY = PRESERVING | STRAIGHT | EXPLODING
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
preserving = pytest.mark.parametrize("make", PRESERVING.values(), ids=PRESERVING)
exploding = pytest.mark.parametrize("make", EXPLODING.values(), ids=EXPLODING)


@pytest.mark.parametrize(
    ("t", "alphas_cumprod"),
    [
        (0, 0.9999),
        (1, 0.99978009),
        (10, 0.99780657),
        (100, 0.89514159),
        (500, 0.077796658),
        (900, 2.7024452e-4),
        (990, 4.8370478e-5),
        (999, 4.0358298e-5),
    ],
)
def test_linear_schedule_has_the_published_alphas_cumprod(t, alphas_cumprod):
    # float32 alpha, squared on the host: 2 * 6e-8, and golden values of 8 digits.
    np.testing.assert_allclose(np.float64(schedules.linear()(t)[0]) ** 2, alphas_cumprod, rtol=1e-6)


def test_first_sigma_of_the_linear_schedule_does_not_suffer_from_cancellation():
    # 1 - alpha^2 in float32 would be off by 8e-5; one rounding to float32 is 6e-8.
    np.testing.assert_allclose(np.float64(schedules.linear()(0)[1]), 0.01, rtol=1e-7)


@pytest.mark.parametrize("betas", [np.linspace(1e-4, 2e-2, 1000), np.geomspace(1e-6, 0.9, 50)], ids=["linear", "geo"])
def test_alpha_and_sigma_follow_from_the_betas_in_float64(betas):
    schedule, alphas_cumprod = schedules.from_betas(betas), np.cumprod(1 - betas)
    # Storage in float32 (6e-8); the float64 cumprod keeps 1 - alphas_cumprod to 1e-10 even at 1e-6.
    np.testing.assert_allclose(schedule.alphas, np.sqrt(alphas_cumprod), rtol=2e-7)
    np.testing.assert_allclose(schedule.sigmas, np.sqrt(1 - alphas_cumprod), rtol=2e-7)


def test_quad_squares_linear_roots():
    expected = schedules.from_betas(np.array([0.2, 0.3, 0.4]) ** 2)
    # The same numbers up to float64 rounding, then float32.
    np.testing.assert_allclose(schedules.quad(3, beta_start=0.04, beta_end=0.16).sigmas, expected.sigmas, rtol=2e-7)


def test_const_loses_signal_geometrically():
    np.testing.assert_allclose(schedules.const(3, beta=0.19).alphas, [0.9, 0.81, 0.729], rtol=2e-7)  # float32


def test_sigmoid_is_symmetric_about_the_mean_beta():
    betas = 1 - np.asarray(schedules.sigmoid(3, beta_start=0.1, beta_end=0.3).alphas, np.float64) ** 2
    betas[1:] = 1 - (1 - betas[1:]) / (1 - betas[:-1])
    edge = 0.2 / (1 + np.exp(6.0))
    np.testing.assert_allclose(betas, [0.1 + edge, 0.2, 0.3 - edge], rtol=2e-6)  # differences of float32 squares


@every
def test_minus_one_is_the_clean_image(make):
    alpha_t, sigma_t = make()(-1)
    assert (float(alpha_t), float(sigma_t)) == (1.0, 0.0)


@preserving
def test_variance_is_preserved(make):
    alpha_t, sigma_t = make()(jnp.arange(1000))
    # Two squares of float32 numbers.
    np.testing.assert_allclose(alpha_t**2 + sigma_t**2, 1, atol=4e-7)


@exploding
def test_variance_exploding_schedules_keep_the_signal(make):
    assert (make()(jnp.arange(1000))[0] == 1).all()


@every
def test_noise_to_signal_ratio_ascends(make):
    alpha_t, sigma_t = make()(jnp.arange(1000))
    assert (np.diff(np.asarray(sigma_t, np.float64) / np.asarray(alpha_t, np.float64)) > 0).all()


@every
def test_every_schedule_is_positive_finite_and_float32(make):
    schedule = make()
    for table in (schedule.alphas, schedule.sigmas):
        assert table.dtype == jnp.float32
        assert bool((jnp.isfinite(table) & (table > 0)).all())


@every
def test_the_number_of_timesteps_is_the_one_asked_for(make):
    assert make(10).num_timesteps == 10


def test_ve_runs_geometrically_between_its_ends():
    sigmas = schedules.ve(5, sigma_min=0.01, sigma_max=100.0).sigmas
    np.testing.assert_allclose(sigmas, [0.01, 0.1, 1.0, 10.0, 100.0], rtol=2e-7)  # float32


def test_edm_is_even_in_the_seventh_root():
    roots = np.asarray(schedules.edm(11).sigmas, np.float64) ** (1 / 7)
    np.testing.assert_allclose(np.diff(roots), (80 ** (1 / 7) - 0.002 ** (1 / 7)) / 10, rtol=1e-6)  # float32


def test_jsd_keeps_k_over_t_of_the_signal():
    # prod_k (1 - 1/(T-k+1)) telescopes to (T-k)/T.
    alphas = np.asarray(schedules.jsd(10).alphas, np.float64)
    np.testing.assert_allclose(alphas[:-1] ** 2, np.arange(9, 0, -1) / 10, rtol=3e-7)  # float32


def test_cosine_follows_the_squared_cosine():
    u = (np.arange(1, 991) / 1000 + 0.008) / 1.008 * np.pi / 2
    expected = np.cos(u) / np.cos(0.008 / 1.008 * np.pi / 2)
    # float32 storage; the last betas are cut, so they are left out.
    np.testing.assert_allclose(schedules.cosine().alphas[:990], expected, rtol=2e-7)


@every
def test_vmap_over_timesteps_is_a_loop_over_them(make):
    schedule, ts = make(), jnp.asarray([-1, 0, 7, 999])
    batched = jax.vmap(schedule)(ts)
    looped = [schedule(int(t)) for t in ts]
    assert np.array_equal(np.stack(batched, 1), np.asarray(looped, np.float32))


def test_schedules_can_be_batched_themselves():
    stacked = jax.tree.map(lambda *tables: jnp.stack(tables), schedules.linear(), schedules.cosine())
    alphas, _ = jax.vmap(lambda schedule: schedule(10))(stacked)
    assert np.array_equal(alphas, [schedules.linear()(10)[0], schedules.cosine()(10)[0]])


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50, 300, 333, 500, 501, 750, 999, 1000])
def test_linspace_gives_exactly_n_descending_from_the_last_timestep(n):
    ts = np.asarray(schedules.linear().timesteps(n))
    assert ts.dtype == np.int32
    assert (ts.size, ts[0]) == (n, 999)
    assert (np.diff(ts) < 0).all()


@pytest.mark.parametrize("n", [2, 3, 300, 999, 1000])
def test_linspace_ends_at_zero(n):
    assert schedules.linear().timesteps(n)[-1] == 0


def test_linspace_never_repeats_a_timestep():
    assert all(np.unique(schedules.linspace(1000, n)).size == n for n in range(1, 1001))


@pytest.mark.parametrize(
    ("n", "size", "top"), [(1000, 1000, 999), (100, 100, 990), (50, 50, 980), (20, 20, 950), (10, 10, 900)]
)
def test_published_grid_of_divisors(n, size, top):
    ts = schedules.linear().timesteps(n, spacing=schedules.published)
    assert (ts.size, int(ts[0]), int(ts[-1])) == (size, top, 0)


def test_published_grid_has_more_steps_than_asked_where_n_does_not_divide():
    assert schedules.linear().timesteps(300, spacing=schedules.published).size == 334


def test_between_includes_both_ends():
    ts = schedules.linear().timesteps(50, spacing=schedules.between(500, 20))
    assert (ts.size, int(ts[0]), int(ts[-1])) == (50, 500, 20)


def _levels(schedule, n, *args, **options):
    spacing = schedules.log_even(schedule, *args, **options)
    alphas, sigmas = schedule(schedule.timesteps(n, spacing=spacing, fractional=bool(options)))
    return np.asarray(sigmas / alphas, np.float64)


@pytest.mark.parametrize("make", [schedules.linear, schedules.cosine, schedules.ve, schedules.edm])
def test_levels_even_in_their_logarithm_fall_by_one_factor(make):
    # Half the distance of the tables' levels there.
    np.testing.assert_allclose(_levels(make(), 9, 1.0, 0.3), np.geomspace(1.0, 0.3, 9), rtol=0.006)


@pytest.mark.parametrize("make", [schedules.linear, schedules.cosine, schedules.ve, schedules.edm])
def test_between_integers_are_exactly_the_levels(make):
    levels = _levels(make(), 40, 1.0, 0.02, to_timestep=Schedule.fractional)
    np.testing.assert_allclose(levels, np.geomspace(1.0, 0.02, 40), rtol=1e-3)  # float32: t is known to 3e-5


def test_levels_between_integers_end_where_the_table_does():
    schedule = schedules.from_sigmas(np.geomspace(0.01, 10, 31))
    levels = _levels(schedule, 5, 1000.0, 0.001, to_timestep=Schedule.fractional)
    np.testing.assert_allclose(levels, np.geomspace(10, 0.01, 5), rtol=1e-4)  # float32


def test_a_schedule_that_ends_in_pure_noise_has_levels_below_it():
    schedule = Schedule(jnp.asarray([1.0, 0.5, 0.0]), jnp.asarray([0.5, 1.0, 1.0]))
    assert _levels(schedule, 2, 1000.0, 0.1).tolist() == [2.0, 0.5]


@pytest.mark.parametrize(
    ("sigmas", "expected"),
    [
        # Asked for are 1, 0.316, 0.1, 0.0316 and 0.01.
        ([0.01, 0.03, 0.1, 0.3, 1.0, 2.0], [1.0, 0.3, 0.1, 0.03, 0.01]),
        ([0.01, 0.2, 0.4, 0.8, 0.9, 1.0, 2.0], [1.0, 0.8, 0.4, 0.2, 0.01]),  # 0.1 and 0.0316 have none
        ([0.01, 0.02, 0.04, 0.08, 1.0, 2.0], [1.0, 0.08, 0.04, 0.02, 0.01]),  # 0.316 has 1.0, which is taken
    ],
)
def test_where_the_table_has_too_few_levels_their_neighbours_are_taken(sigmas, expected):
    assert _levels(schedules.from_sigmas(np.array(sigmas)), 5, 1.0, 0.01).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("sigma_max", "sigma_min"), [(1.0, 1.0), (0.1, 1.0), (1.0, 0.0)])
def test_levels_that_do_not_fall_are_an_error(sigma_max, sigma_min):
    with pytest.raises(ValueError, match="fall from sigma_max to sigma_min"):
        schedules.log_even(schedules.linear(), sigma_max, sigma_min)


def test_more_levels_than_there_are_is_an_error():
    schedule = schedules.from_sigmas(np.geomspace(0.01, 10, 31))
    with pytest.raises(
        ValueError, match=r"cannot choose 12 timesteps from noise level 1\.0 down to 0\.1, .* has 11; take"
    ):
        schedule.timesteps(12, spacing=schedules.log_even(schedule, 1.0, 0.1))


@pytest.mark.parametrize("n", [0, -1, 1001])
@pytest.mark.parametrize("spacing", [schedules.linspace, schedules.published])
def test_a_number_of_timesteps_outside_the_table_is_an_error(n, spacing):
    with pytest.raises(ValueError, match="must be between 1 and 1000"):
        schedules.linear().timesteps(n, spacing=spacing)


@pytest.mark.parametrize(("start", "end"), [(10, 10), (10, 11), (10, -1)])
def test_an_end_not_below_the_start_is_an_error(start, end):
    with pytest.raises(ValueError, match="from start down to end"):
        schedules.between(start, end)


@pytest.mark.parametrize(("start", "n"), [(1000, 10), (10, 12)])
def test_timesteps_that_do_not_fit_between_start_and_end_are_an_error(start, n):
    with pytest.raises(ValueError, match="cannot choose"):
        schedules.linear().timesteps(n, spacing=schedules.between(start))


@pytest.mark.parametrize("make", [schedules.linear, schedules.ve])
def test_the_nearest_timestep_of_a_level_is_its_own(make):
    schedule = make()
    ts = np.array([0, 1, 400, 999])
    alphas, sigmas = schedule(ts)
    levels = np.append(sigmas / alphas * 1.001, 1e9)
    np.testing.assert_array_equal(jax.vmap(schedule.nearest)(levels), [*ts, 999])


@pytest.mark.parametrize("make", [schedules.linear, schedules.ve])
def test_a_fractional_timestep_has_exactly_its_level(make):
    schedule = make()
    alphas, sigmas = schedule(np.array([0, 400, 401, 999]))
    ends = sigmas / alphas
    levels = jnp.array([ends[0], 0.7 * ends[1] + 0.3 * ends[2], ends[3]])
    ts = jax.jit(jax.vmap(schedule.fractional))(jnp.append(levels, jnp.array([0.5 * ends[0], 2 * ends[3]])))
    alphas, sigmas = schedule(ts[:3])
    assert 400 < ts[1] < 401
    np.testing.assert_allclose(ts[jnp.array([0, 2, 3, 4])], [0, 999, 0, 999])
    np.testing.assert_allclose(sigmas / alphas, levels, rtol=2e-4)  # float32: t near 400 is known to 3e-5


def test_whole_numbers_of_any_type_are_the_same_timesteps():
    schedule = schedules.linear()
    np.testing.assert_array_equal(schedule(np.float32([-1, 0, 7, 999])), schedule(np.int32([-1, 0, 7, 999])))


@pytest.mark.parametrize("spacing", [[3, 5], [1000, 0], [5, -1], [5, 5]], ids=str)
def test_a_spacing_that_does_not_descend_within_the_table_is_an_error(spacing):
    with pytest.raises(ValueError, match="must descend within"):
        schedules.linear().timesteps(2, spacing=lambda total, n: np.asarray(spacing))


def test_a_spacing_that_is_not_of_integers_is_an_error():
    with pytest.raises(ValueError, match="must return integers"):
        schedules.linear().timesteps(2, spacing=lambda total, n: np.asarray([5.0, 0.0]))


def test_a_spacing_may_be_asked_for_timesteps_between_integers():
    ts = schedules.linear().timesteps(2, spacing=lambda total, n: np.asarray([5.5, 0.0]), fractional=True)
    assert ts.tolist() == [5.5, 0.0]
    assert schedules.linear().timesteps(2, fractional=True).dtype == jnp.int32


@pytest.mark.parametrize("spacing", [[999.5, 5.0], [5.0, -0.5], [5.0, np.nan], [np.nan, 5.0]], ids=str)
def test_timesteps_between_integers_descend_within_the_table(spacing):
    with pytest.raises(ValueError, match="must descend within"):
        schedules.linear().timesteps(2, spacing=lambda total, n: np.asarray(spacing), fractional=True)


def test_a_spacing_that_is_not_of_numbers_is_an_error():
    with pytest.raises(ValueError, match="must return numbers"):
        schedules.linear().timesteps(2, spacing=lambda total, n: np.asarray([True, False]), fractional=True)


@pytest.mark.parametrize("betas", [[], [0.0, 0.1], [0.5, 1.0], [[0.1]], [np.nan]], ids=str)
def test_betas_outside_their_range_are_an_error(betas):
    with pytest.raises(ValueError, match="betas must"):
        schedules.from_betas(np.asarray(betas))


@pytest.mark.parametrize("sigmas", [[], [2.0, 1.0], [0.0, 1.0], [[1.0]], [1.0, np.nan], [1.0, np.inf]], ids=str)
def test_noise_levels_that_do_not_ascend_are_an_error(sigmas):
    with pytest.raises(ValueError, match="sigmas must"):
        schedules.from_sigmas(np.asarray(sigmas))


def test_a_schedule_is_a_pytree_of_its_tables():
    assert isinstance(jax.tree.map(lambda table: table, schedules.linear()), Schedule)


def test_betas_that_leave_no_signal_are_an_error_that_says_where():
    with pytest.raises(ValueError, match=r"alpha_t is below 1e-15 from timestep (\d+) of 100000.* betas\[:\1\]"):
        schedules.linear(100_000)
    betas = np.full(100, 0.5)
    with pytest.raises(ValueError, match=r"betas\[:99\]"):
        schedules.from_betas(betas)
    assert schedules.from_betas(betas[:99]).alphas[-1] >= 1e-15


# ---- straight lines


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_a_rectified_flow_mixes_in_parts_that_sum_to_one_and_never_ends_in_pure_noise(shift):
    alphas, sigmas = schedules.rectified_flow(shift=shift)(jnp.arange(1000))
    np.testing.assert_allclose(alphas + sigmas, 1, atol=2e-7)  # float32
    assert float(alphas[-1]) > 0 < float(sigmas[0])


def test_the_timesteps_of_a_rectified_flow_are_even_and_a_shift_moves_them_as_published():
    u = np.arange(1, 1000) / 1000
    np.testing.assert_allclose(schedules.rectified_flow()(jnp.arange(1, 1000))[1], u, rtol=1e-6)  # float32
    shifted = schedules.rectified_flow(shift=3.0)(jnp.arange(1, 1000))[1]
    np.testing.assert_allclose(shifted, 3 * u / (1 + 2 * u), rtol=1e-6)  # float32


def test_a_shift_that_is_not_positive_is_an_error():
    with pytest.raises(ValueError, match="shift is 0 but must be positive"):
        schedules.rectified_flow(shift=0)


def test_a_schedule_without_terminal_signal_keeps_its_first_level_and_its_number_of_levels_but_one():
    before = schedules.linear()
    after = schedules.zero_terminal_snr(before)
    assert after.num_timesteps == 999
    np.testing.assert_allclose(after(0), before(0), rtol=1e-6)  # float32
    assert float(after(998)[0]) < float(before(998)[0])


@pytest.mark.parametrize("schedule", [schedules.ve(), schedules.linear(1), schedules.rectified_flow()])
def test_only_what_preserves_the_variance_can_be_rescaled(schedule):
    with pytest.raises(ValueError, match="must preserve the variance and have at least 2 timesteps"):
        schedules.zero_terminal_snr(schedule)
