"""Where the report's numbers came from."""

from __future__ import annotations

import json
from pathlib import Path

from hardpairs.data.opening import open_samples
from hardpairs.data.samples import Samples
from hardpairs.evaluating import runs
from hardpairs.reporting import provenance


class TestProvenance:
    def test_settings_show_what_differs_and_what_is_in_effect(self, four: list[Path]) -> None:
        methods, rows = provenance.settings(runs.read_methods(four))
        table = {name: values for name, values in rows}
        assert len(methods) == 4 and len(table) == len(rows)
        assert table["loss_fn"] == ["clip_ce", "clip_ce", "clip_ce", "sanw_debias"]
        assert table["sanw_delta"] == ["–", "–", "–", "0.6"] and table["hard_topk"] == [
            "–",
            "–",
            "6",
            "6",
        ]
        assert table["rows of a global batch"] == ["16"] * 4 and "csv_img_key" not in table

    def test_download(self, shards: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        status = ["success"] * 7 + ["failed_to_download"] * 2
        columns = {
            "status": status,
            "error_message": [None] * 7 + ["HTTP Error 404: Not Found"] * 2,
        }
        pq.write_table(pa.table(columns), shards / "00000.parquet")
        found = provenance.download(
            str(shards), open_samples(shards), image_key="filepath", separator=None
        )
        assert found is not None and found.entries == 9
        assert found.lost == [("failed_to_download: HTTP Error 404: Not Found", 2)]
        assert dict(found.unusable) == {"empty caption": 1, "missing image": 1}

    def test_no_download(self, data: Path, samples: Samples) -> None:
        assert provenance.download(str(data), samples, image_key="filepath", separator=None) is None

    def test_a_manifest_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_text('{"kind": "embeddings"}')
        assert provenance.demo_manifest(str(tmp_path / "train.csv")) == {}
        assert provenance.image_licenses(str(tmp_path / "train.csv")) == []

    def test_licenses_of_fetched_data(self, tmp_path: Path) -> None:
        manifest = {"kind": "data set", "name": "stamps", "licenses": {"MIT": 3, "CC0-1.0": 4}}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        (line,) = provenance.image_licenses(str(tmp_path / "train.csv"))
        assert line.startswith("stamps of hardpairs data get, MIT (3 pairs), CC0-1.0 (4 pairs).")
