"""Read handwritten digits of 8 by 8 pixels with a small neural network."""

import pandas as pd
import torch
from torch import nn

SEED, EPOCHS, WIDTH = 7, 60, 48


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers(pixels / 16)


torch.manual_seed(SEED)
data = pd.read_csv("data.csv")
images = torch.tensor(data.drop(columns="digit").to_numpy(), dtype=torch.float32)
digits = torch.tensor(data["digit"].to_numpy())
test = torch.arange(len(data)) % 3 == 0

net = Reader()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for _ in range(EPOCHS):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(images[~test]), digits[~test])
    loss.backward()
    optimizer.step()

torch.save(net.state_dict(), "model.pt")
with torch.no_grad():
    right = net(images[test]).argmax(dim=1) == digits[test]
print(f"accuracy {right.float().mean():.3f} on {len(right)} images")
