"""Programs of habit that both halves of the checker are held to, and what is wrong with each."""

# Program -> the rules that it breaks; `net` is a linear layer, `i` its input, `t` its target.
PROGRAMS: dict[str, tuple[str, set[str]]] = {
    "attention over the entries of a bag": (
        """
        score, head = nn.Linear(8, 1), nn.Linear(8, 5)
        bags = i[None].expand(7, 7, 8)
        weight = torch.softmax(score(bags), dim=1)
        F.cross_entropy(head((weight * bags).sum(dim=1)), t)
        """,
        set(),
    ),
    "attention of queries to keys": (
        """
        q, k, v, head = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(8, 8), nn.Linear(8, 5)
        weight = (q(i) @ k(i).T / 2).softmax(dim=-1)
        F.cross_entropy(head(weight @ v(i)), t)
        """,
        set(),
    ),
    "a gate": (
        """
        gate, head = nn.Linear(8, 8), nn.Linear(8, 5)
        F.cross_entropy(head(torch.sigmoid(gate(i)) * i), t)
        """,
        set(),
    ),
    "distillation": (
        """
        teacher = nn.Linear(8, 5)
        soft = F.softmax(teacher(i).detach() / 3, dim=1)
        loss = F.kl_div(F.log_softmax(net(i) / 3, dim=1), soft, reduction="batchmean")
        loss = loss + F.cross_entropy(net(i), t)
        """,
        set(),
    ),
    "probabilities beside the loss": (
        """
        out = net(i)
        loss, p = F.cross_entropy(out, t), out.softmax(dim=1)
        hits = (p.argmax(dim=1) == t).sum()
        """,
        set(),
    ),
    "probabilities at prediction only": (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(8, 5)
            def forward(self, x):
                out = {"scores": self.fc(x)}
                if not self.training:
                    out["scores"] = out["scores"].softmax(dim=1)
                return out
        F.cross_entropy(Net()(i)["scores"], t)
        """,
        set(),
    ),
    "contrast of two views": (
        """
        a, b = F.normalize(net(i), dim=1), F.normalize(net(i + 0.1), dim=1)
        F.cross_entropy(a @ b.T / 0.1, torch.arange(7))
        """,
        set(),
    ),
    "the next token": (
        """
        scores = net(i)[None]
        F.cross_entropy(scores[:, :-1].reshape(-1, 5), t[None, 1:].reshape(-1))
        """,
        set(),
    ),
    "two heads": (
        """
        other = nn.Linear(8, 5)
        F.cross_entropy(net(i), t) + F.binary_cross_entropy_with_logits(other(i), h.float())
        """,
        set(),
    ),
    "a loss of one's own": (
        """
        def smooth(scores, target):
            logp = scores.log_softmax(dim=1)
            return -logp.gather(1, target[:, None]).mean()
        smooth(net(i), t)
        """,
        set(),
    ),
    "a decorator": (
        """
        import functools
        def scaled(f):
            @functools.wraps(f)
            def inner(x):
                return f(x).softmax(dim=1)
            return inner
        @scaled
        def scores(x):
            return net(x)
        F.cross_entropy(scores(i), t)
        """,
        {"SO101"},
    ),
    "a property": (
        """
        class Model:
            @property
            def out(self):
                return self._out
            @out.setter
            def out(self, value):
                self._out = value.softmax(dim=1)
        model = Model()
        model.out = net(i)
        F.cross_entropy(model.out, t)
        """,
        {"SO101"},
    ),
    "a match": (
        """
        def end(x, name):
            match name:
                case "softmax":
                    return x.softmax(dim=1)
                case _:
                    return x
        F.cross_entropy(end(net(i), "softmax"), t)
        """,
        {"SO101"},
    ),
    "a context": (
        """
        import contextlib
        @contextlib.contextmanager
        def ended(x):
            yield x.softmax(dim=1)
        with ended(net(i)) as out:
            F.cross_entropy(out, t)
        """,
        {"SO101"},
    ),
    "a closure": (
        """
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=2)
        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(net(i).softmax(dim=1), t)
            loss.backward()
            return loss
        optimizer.step(closure)
        """,
        {"SO101"},
    ),
    "a named tuple": (
        """
        from collections import namedtuple
        Out = namedtuple("Out", "scores features")
        out = Out(net(i).softmax(dim=1), i)
        F.cross_entropy(out.scores, t)
        """,
        {"SO101"},
    ),
    "entries that are exchanged": (
        """
        p = net(i).softmax(dim=1).detach()
        for n in range(7):
            k = p[n].argmax()
            held = p[n][k]
            p[n][k] = p[n][t[n]]
            p[n][t[n]] = held
        F.kl_div(p, h.float(), reduction="batchmean")
        """,
        {"SO107"},
    ),
    "a row of other scores": (
        """
        out = net(i).detach().clone()
        out[0] = net(i)[1]
        F.nll_loss(out, t)
        """,
        {"SO103"},
    ),
    "probabilities among the scores": (
        """
        out = net(i).detach().clone()
        out[0] = net(i)[1].softmax(dim=0)
        F.nll_loss(out, t)
        """,
        set(),
    ),
    "a number among the probabilities": (
        """
        out = net(i).softmax(dim=1).detach().clone()
        out[0, 0] = -1.0
        F.nll_loss(out, t)
        """,
        set(),
    ),
    "a functional call": (
        """
        soft = nn.Sequential(net, nn.Softmax(dim=1))
        weights = dict(soft.named_parameters())
        F.cross_entropy(torch.func.functional_call(soft, weights, (i,)), t)
        """,
        {"SO101"},
    ),
    "a network mapped over rows": (
        """
        soft = nn.Sequential(net, nn.Softmax(dim=-1))
        F.cross_entropy(torch.vmap(soft)(i), t)
        """,
        {"SO101"},
    ),
    "a mean that is reduced": (
        """
        import functools
        each = [F.softmax(net(part), dim=1) for part in (i, -i)]
        F.cross_entropy(functools.reduce(torch.add, each) / 2, t)
        """,
        {"SO101"},
    ),
    "rows of two batches": (
        """
        p = torch.vstack([net(i).softmax(dim=1), net(-i).softmax(dim=1)])
        F.cross_entropy(p, torch.cat([t, t]))
        """,
        {"SO101"},
    ),
    "global and nonlocal names": (
        """
        held = None
        def around():
            inner = net(i)
            def soften():
                global held
                nonlocal inner
                inner = inner.softmax(dim=1)
                held = inner
            soften()
            return inner
        F.cross_entropy(around(), t)
        F.cross_entropy(held, t)
        """,
        {"SO101"},
    ),
    "two names of one tensor": (
        """
        z = net(i)
        same = z
        F.cross_entropy(z.exp() / same.exp().sum(dim=1, keepdim=True), t)
        F.nll_loss(z - same.logsumexp(dim=1, keepdim=True), t)
        """,
        {"SO101"},
    ),
    "a name that is given anew": (
        """
        z = net(i)
        before = z
        z = net(-i)
        F.cross_entropy(z.exp() / before.exp().sum(dim=1, keepdim=True), t)
        """,
        set(),
    ),
    "a hook": (
        """
        net.register_forward_hook(lambda module, inputs, output: output.softmax(dim=1))
        F.cross_entropy(net(i), t)
        """,
        {"SO101"},
    ),
    "a hook that was removed": (
        """
        net.register_forward_hook(lambda module, inputs, output: output.softmax(dim=1)).remove()
        F.cross_entropy(net(i), t)
        """,
        set(),
    ),
    "a distribution": (
        """
        p = torch.distributions.Categorical(logits=net(i)).probs
        F.cross_entropy(p, t)
        """,
        {"SO101"},
    ),
    "rows one after the other": (
        """
        rows = torch.empty(0, 5)
        for part in i.split(3):
            rows = torch.cat([rows, net(part).softmax(dim=1)])
        F.cross_entropy(rows, t)
        """,
        {"SO101"},
    ),
    "a list of networks": (
        """
        nets = [nn.Linear(8, 5) for _ in range(3)]
        p = sum(F.softmax(n(i), dim=1) for n in nets) / 3
        F.cross_entropy(p, t)
        """,
        {"SO101"},
    ),
    "a softmax of its own and one more": (
        """
        out = net(i).softmax(dim=1)
        p = F.softmax(out, dim=1)
        """,
        {"SO202"},
    ),
    "probabilities given to a divergence": (
        """
        F.kl_div(net(i).softmax(dim=1), h.float(), reduction="batchmean")
        """,
        {"SO107"},
    ),
    "decisions given to a loss": (
        """
        guess = (net(i) > 0).float().requires_grad_()
        F.cross_entropy(guess, t)
        """,
        {"SO109"},
    ),
}
