"""The loop; it knows neither the network nor the loss."""


def train_model(model, criterion, batches):
    for x, target in batches:
        output = model(x)
        loss = criterion(output, target)  # SO101
        loss.backward()
