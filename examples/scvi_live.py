"""Watch an scvi-tools model learn: its losses, its latent, and which cells fit no known type.

    pip install ".[lightning]" scvi-tools           # in the folder of livelatent
    python examples/scvi_live.py                      # 700 blood cells that ship inside scanpy; writes scvi_live.html

In a notebook, the last lines are instead:

    view = ll.LiveView(watch)
    watch.start(lambda: model.train(max_epochs=50, callbacks=[watch]))
    view
"""

import sys

import anndata
import numpy as np
import scanpy as sc
import scvi
import torch

import livelatent as ll


def blood() -> anndata.AnnData:
    """Cells with counts made back from scanpy's logs, and one type whose label is taken away: the thing to discover."""
    small = sc.datasets.pbmc68k_reduced()
    logs = small.raw.to_adata().X
    counts = logs.copy()
    counts.data = np.rint(np.expm1(logs.data)).astype(np.float32)
    adata = anndata.AnnData(counts, obs=small.obs[["bulk_labels"]].copy(), var=small.raw.var.copy())
    adata.layers["counts"] = adata.X
    labels = adata.obs["bulk_labels"].astype(object)
    adata.obs["cell_type"] = np.where(labels == "CD19+ B", "unknown", labels)
    return adata


def embed_with(adata: anndata.AnnData, module_batch: int = 0):
    """The function that a watch asks for: the latent of some rows, from the module as it is being trained."""

    def embed(plan, rows: np.ndarray) -> torch.Tensor:
        vae = plan.module
        device = next(vae.parameters()).device
        x = torch.from_numpy(adata.layers["counts"][rows].toarray()).to(device)
        batch = torch.full((len(rows), 1), module_batch, device=device)
        return vae.inference(x, batch_index=batch)["qz"].loc

    return embed


def main(max_epochs: int = 30, page: str = "scvi_live.html") -> ll.LightningWatch:
    """Train under a view's eyes, write the view as a page, and say what was flagged."""
    adata = blood()
    scvi.model.SCVI.setup_anndata(adata, layer="counts")
    model = scvi.model.SCVI(adata, n_latent=10)
    watch = ll.LightningWatch(adata, embed_with(adata), label="cell_type", unlabelled=["unknown"])
    view = ll.LiveView(watch)
    watch.start(
        lambda: model.train(
            max_epochs=max_epochs, callbacks=[watch], accelerator="cpu", check_val_every_n_epoch=1, train_size=0.9
        )
    )
    watch.wait()
    view.to_html(page)
    print(watch.status)
    for flag in view.novel:
        share = (adata.obs["bulk_labels"].to_numpy()[flag.rows] == "CD19+ B").mean()
        print(f"{flag}  {share:.0%} of its cells are of the type whose label was taken away.")
    print(sorted(watch.history.names()))
    view.close()
    return watch


if __name__ == "__main__":
    main(*(int(epochs) for epochs in sys.argv[1:2]))
