"""Windows a second that PyTorch pretrains on: the network, loss, optimiser and augmentations of
`headstart pretrain` with its default settings, augmentations vectorised over the batch.

    python3 benches/pretrain_torch.py DATA.npz [--epochs N] [--threads N]
    python3 benches/pretrain_torch.py --compare REPORTS

prints one JSON object. The clock runs over the steps alone: forward, backward, AdamW, and the making
of two views of each window. With --compare it reads such objects, and those of
`headstart pretrain --json`, one a line with the program's name before it, and prints the ratio.
"""

import argparse
import json
import math
import os
import platform
import statistics
import time

import numpy as np

WINDOW, HOP, WIDTH, DIM, BATCH = 128, 32, 24, 64, 256
TEMPERATURE, RATE, DECAY = 0.1, 2e-3, 1e-4
JITTER, SCALE, ROTATION, MIRROR, WARP, SHIFT = 0.02, 0.2, 0.3, 0.5, 0.2, 16.0
COMMON_ROTATION, COMMON_SCALE, COMMON_WARP = 0.5, 0.3, 0.2


def load(path):
    """Samples in units of each sensor's RMS, and each window's start, its recording's first and last row."""
    data = np.load(path)
    x = data["x"].astype(np.float32) * data["scale"]
    x /= np.sqrt((x.reshape(len(x), -1, 3) ** 2).mean((0, 2))).repeat(3)
    cuts = np.flatnonzero(np.diff(data["recording"])) + 1
    windows = []
    for low, high in zip([0, *cuts], [*cuts, len(x)]):
        windows += [(start, low, high - 1) for start in range(low, high - WINDOW + 1, HOP)]
    return x, np.array(windows)


def train(path, epochs, threads):
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(1)

    class SensorCnn(nn.Module):
        def __init__(self, channels):
            super().__init__()
            widths = [channels, WIDTH, 2 * WIDTH, DIM]
            kernels = [7, 5, 5]
            self.convs = nn.ModuleList(
                nn.Conv1d(a, b, k, 2, k // 2, bias=False) for a, b, k in zip(widths, widths[1:], kernels)
            )
            self.norms = nn.ModuleList(nn.BatchNorm1d(b) for b in widths[1:])
            self.averages = nn.ModuleList(nn.Linear(b, DIM, bias=b == DIM) for b in widths[1:])
            self.maxima = nn.ModuleList(nn.Linear(b, DIM, bias=False) for b in widths[1:])

        def forward(self, x):
            sum = 0
            for conv, norm, average, maximum in zip(self.convs, self.norms, self.averages, self.maxima):
                x = F.relu(norm(conv(x)), inplace=True)
                sum = sum + average(x.mean(2)) + maximum(x.amax(2))
            return sum

    def nt_xent(z):
        z = F.normalize(z, dim=1)
        n = len(z) // 2
        logits = (z @ z.T / TEMPERATURE).fill_diagonal_(-math.inf)
        return F.cross_entropy(logits, torch.arange(2 * n).roll(n))

    def turns(angle, n):
        """n rotation matrices about random axes, by at most `angle` (Rodrigues' formula)."""
        axis = F.normalize(torch.randn(n, 3), dim=1)
        angle = angle * (2 * torch.rand(n, 1, 1) - 1)
        x, y, z = axis.unbind(1)
        zero = torch.zeros(n)
        cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(n, 3, 3)
        outer = axis[:, :, None] * axis[:, None, :]
        return angle.cos() * torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * outer

    def views(picked):
        """Two views of each window, all first ones, then all second ones: [2 N, channels, WINDOW]."""
        n = len(picked)
        start, low, high = windows[picked].repeat(2, 1).float().unbind(1)
        speed = (COMMON_WARP * torch.randn(n)).exp().repeat(2) * (WARP * torch.randn(2 * n)).exp()
        height = WARP * torch.randn(2 * n, 1) * (WINDOW / 25)
        phase = 2 * math.pi * torch.rand(2 * n, 1)
        offset = SHIFT * (2 * torch.rand(2 * n, 1) - 1)
        t = torch.arange(WINDOW)
        half = (WINDOW - 1) / 2
        wave = height * torch.sin(2 * math.pi / WINDOW * t + phase)
        last = (high - low)[:, None]
        times = (start - low)[:, None] + offset + half + speed[:, None] * (t - half + wave)
        times += (-times.amin(1, keepdim=True)).clamp(min=0) - (times.amax(1, keepdim=True) - last).clamp(min=0)
        times = torch.minimum(times.clamp(min=0), last)
        row = times.floor()
        part = (times - row)[:, :, None]
        row = (row + low[:, None]).long()
        after = torch.minimum(row + 1, high.long()[:, None])
        out = torch.lerp(samples[row], samples[after], part)  # [2 N, WINDOW, channels]
        sensors = out.view(2 * n, WINDOW, -1, 3)
        gain = (COMMON_SCALE * torch.randn(n)).exp().repeat(2)[:, None]
        gain = gain * (SCALE * torch.randn(2 * n, sensors.shape[2])).exp()
        mirrored = torch.rand(2 * n) < MIRROR
        signs = torch.ones(2 * n, sensors.shape[2], 3)
        signs[mirrored, :1] *= torch.tensor([-1.0, 1.0, 1.0])
        signs[mirrored, 1:] *= torch.tensor([1.0, -1.0, -1.0])
        turn = turns(ROTATION, 2 * n) @ turns(COMMON_ROTATION, n).repeat(2, 1, 1)
        # One matrix a view and sensor: gain, both turns and the mirror in one product.
        turn = turn[:, None] * signs[..., None] * gain[..., None, None]
        out = torch.matmul(turn, sensors.permute(0, 2, 3, 1)).flatten(1, 2)
        return out.add_(torch.randn_like(out), alpha=JITTER)

    x, cut = load(path)
    samples, windows = torch.from_numpy(x), torch.from_numpy(cut)
    encoder = SensorCnn(x.shape[1])
    projector = nn.Sequential(nn.Linear(DIM, 128), nn.ReLU(inplace=True), nn.Linear(128, 64))
    model = nn.Sequential(encoder, projector)
    steps = len(windows) // BATCH
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, foreach=True)

    def factor(step, all=steps * epochs):
        return min((step + 1) / max(all / 20, 1), 1) * 0.5 * (1 + math.cos(math.pi * step / all))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    began = time.perf_counter()
    for _ in range(epochs):
        mean = 0.0
        for picked in torch.randperm(len(windows))[: steps * BATCH].view(steps, BATCH):
            loss = nt_xent(model(views(picked)))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            mean += loss.item() / steps
    seconds = time.perf_counter() - began
    return {
        "torch": torch.__version__,
        "blas": blas(),
        "python": platform.python_version(),
        "threads": threads,
        "windows": len(windows),
        "epochs": epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": seconds,
        "windows_per_second": steps * BATCH * epochs / seconds,
        "loss": mean,
    }


def blas():
    """Which library multiplies matrices: PyTorch's own, or the file that the system has put in its place."""
    mapped = {os.path.realpath(line.split()[-1]) for line in open("/proc/self/maps") if "blas" in line}
    found = sorted(path for path in mapped if "numpy" not in path and "scipy" not in path)
    names = " ".join(found)
    if "openblas" in names:
        return "OpenBLAS"
    return "reference" if "/libblas.so" in names else names or "its own"


def compare(path):
    reports = {"headstart": [], "torch": []}
    for line in open(path):
        name, report = line.split(" ", 1)
        reports[name].append(json.loads(report))
    ours, theirs = ([r["windows_per_second"] for r in reports[name]] for name in reports)
    one = reports["torch"][0]
    if one["windows"] != reports["headstart"][0]["windows"]:
        raise SystemExit("error: the programs cut the data into different windows")
    for name, rates in [("headstart", ours), ("torch", theirs)]:
        loss = statistics.median(r["loss"] for r in reports[name])
        label = name if name == "headstart" else f"torch {one['torch']}, {one['blas']}"
        print(
            f"{label:26} {statistics.median(rates):8,.0f} windows/s "
            f"({min(rates):,.0f} to {max(rates):,.0f}, {len(rates)} runs), loss {loss:.3f}"
        )
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"headstart / torch          {ratio:8.2f}   with {one['threads']} thread{'s' * (one['threads'] > 1)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compare", action="store_true")
    args = parser.parse_args()
    if args.compare:
        compare(args.data)
    else:
        print(json.dumps(train(args.data, args.epochs, args.threads)))
