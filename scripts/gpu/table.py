"""The end of it: all parts' figures in one file and one table, with the share of the roof that each reached."""

import json
from pathlib import Path
from typing import Any

from saliency import report
from saliency.report.record import SCHEMA
from scripts.gpu.common import NETWORKS, SETTINGS, Row

PARTS = ("machine", "tests", "occlusion", "gradient", "maps", "linear")
AIMS = {"vgg16 8/4 s a map": 0.5, "vgg16 8/4 captum / ours": 8.0, "class maps, ours / torch": 1.0, "linear s": 180.0}
Line = tuple[str, str, str, str]  # what, figure, share of the roof, note


def run(out: Path) -> int:
    files = sorted(file for file in out.glob("*.json") if file.stem.split("-")[0] in PARTS)
    found = {file.stem: json.loads(file.read_text()) for file in files}
    small = any(part.get("small") for part in found.values())
    lines = [line for line in table(found) if not small or not line[0].startswith("aim: ")]
    card = found.get("machine", {}).get("card")
    whole = {
        "schema": SCHEMA,
        "card": card,
        "small": small,
        "versions": report.versions(),
        "missing": [part for part in PARTS if part not in found],
        "table": [list(line) for line in lines],
        "parts": found,
    }
    report.write_json(out / "gpu.json", whole)
    width = [max(len(line[i]) for line in [*lines, ("", "", "", "")]) for i in range(3)]
    print(
        f"card: {card}; '~': repeats more than 5% apart{'; the small form: no figures of any network' if small else ''}"
    )
    for line in lines:
        print("  ".join([line[0].ljust(width[0]), line[1].rjust(width[1]), line[2].rjust(width[2]), line[3]]).rstrip())
    print(f"wrote {out / 'gpu.json'}")
    return 0


def table(found: dict[str, Any]) -> list[Line]:
    roofs = roofs_of(found)
    lines = machine_lines(found, roofs)
    for row in rows(found, "tests"):
        if row.get("what") == "tests":
            counts = f"{row['passed']} passed, {row['failed']} failed, {row['skipped']} skipped"
            lines.append(("tests", counts, "", row["ended"]))
        elif row.get("outcome") == "failed":
            lines.append((f"failed: {row['test']}"[:90], "", "", ""))
    for name in NETWORKS:
        for patch, stride in SETTINGS:
            lines += occlusion_lines(found, roofs, name, patch, stride)
    lines += gradient_lines(found)
    for row in rows(found, "maps"):
        if row.get("what") in ("decoding alone", "make_maps"):
            lines.append((row["what"], rate(row, "images_s", "images/s"), "", left(row)))
        elif row.get("what") == "share of decoding":
            lines.append((row["what"], f"{row['share']:.0%}", "", ""))
    for row in rows(found, "linear"):
        share = f"{row['tflops'] / roofs['float32']:.0%}" if "tflops" in row and roofs.get("float32") else ""
        note = left(row)
        if "mean_iou" in row:
            note = f"mean IoU {row['mean_iou']:.3f}, of the mean box {row['of_the_mean_box']:.3f}"
        if row["what"] == "Gram matrix and ridge":
            note = aim(row["seconds"] <= AIMS["linear s"], f"below {AIMS['linear s']:.0f} s")
        lines.append((f"linear map: {row['what']}", rate(row, "seconds", "s"), share, note + memory(row)))
    for name, part in found.items():
        lines += [
            (f"{name}: skipped", "", "", row["skipped"]) for row in part["rows"] if isinstance(row.get("skipped"), str)
        ]
        if part["state"] != "done":
            lines.append((f"{name}: not finished", f"{part['seconds']} s", "", ""))
    return lines


def roofs_of(found: dict[str, Any]) -> dict[str, float]:
    return {row["kind"]: row["tflops"] for row in rows(found, "machine") if "kind" in row and "tflops" in row}


def machine_lines(found: dict[str, Any], roofs: dict[str, float]) -> list[Line]:
    lines = []
    for row in rows(found, "machine"):
        if row["what"] == "matrix product":
            lines.append((f"roof: {row['kind']} product", rate(row, "tflops", "TFLOP/s"), "", left(row)))
        elif row["what"] == "copy":
            lines.append(("roof: copy", rate(row, "tbytes", "TB/s"), "", left(row)))
    return lines


def occlusion_lines(found: dict[str, Any], roofs: dict[str, float], name: str, patch: int, stride: int) -> list[Line]:
    lines = []
    where = f"{name} {patch}/{stride}"
    here = [
        row
        for who in ("ours", "captum")
        for row in rows(found, f"occlusion-{name}-{who}")
        if (row.get("patch"), row.get("stride")) == (patch, stride)
    ]
    best: dict[tuple[str, str], Row] = {}
    for row in here:
        if "seconds" not in row:
            if "error" in row:
                lines.append((f"{where}: {key_of(row)}", "", "", left(row)))
            continue
        kind = row.get("precision") or ("TF32" if row.get("tf32") else "float32")
        who = row.get("engine", "captum")
        if (who, kind) not in best or row["seconds"] < best[who, kind]["seconds"]:
            best[who, kind] = row
    for (who, kind), row in best.items():
        share = f"{row['tflops'] / roofs[kind]:.0%}" if "tflops" in row and roofs.get(kind) else ""
        note = f"{key_of(row)}; first {row['first_s']:.1f} s"
        if row.get("apart") is not None:
            note += f"; apart {row['apart']:.1e}"
        lines.append((f"{where}: {who}, {kind}", rate(row, "ms", "ms a map"), share, note + memory(row)))
    for kind in ("float32", "TF32"):
        if ("incremental", kind) in best and ("captum", kind) in best:
            ratio = best["captum", kind]["seconds"] / best["incremental", kind]["seconds"]
            lines.append((f"{where}: captum's best / incremental, {kind}", f"{ratio:.1f}x", "", ""))
    if where == "vgg16 8/4" and ("incremental", "float32") in best:
        mine = best["incremental", "float32"]["seconds"]
        lines.append((f"aim: {where}", f"{mine:.3f} s", "", aim(mine <= 0.5, "below 0.5 s a map")))
        rivals = [row["seconds"] for (who, _), row in best.items() if who == "captum"]
        if rivals:
            ratio = min(rivals) / mine
            note = aim(ratio >= 8, "8 times captum's best of any precision")
            lines.append((f"aim: {where}, captum's best", f"{ratio:.1f}x", "", note))
    return lines


def gradient_lines(found: dict[str, Any]) -> list[Line]:
    lines = []
    theirs = [row for row in rows(found, "gradient-torch") if "images_s" in row]
    for row in rows(found, "gradient-ours"):
        label = f"class maps {row.get('network')}, batch {row.get('batch')}, {'TF32' if row.get('tf32') else 'float32'}"
        if "images_s" not in row:
            if "error" in row:
                lines.append((label, "", "", left(row)))
            continue
        rivals = [
            one for one in theirs if all(one[key] == row[key] for key in ("network", "batch", "tf32"))
        ]  # both memory orders
        note = f"on the device {row['device_images_s']:.0f}"
        if rivals:
            there, alone = (max(one[key] for one in rivals) for key in ("images_s", "device_images_s"))
            ratio, on_device = row["images_s"] / there, row["device_images_s"] / alone
            note += f"; torch {there:.0f}, on the device {alone:.0f}; ratio {ratio:.2f}, on the device {on_device:.2f}"
            note += f" ({aim(ratio >= 1, 'at least 1')})"
        lines.append((label, rate(row, "images_s", "images/s"), "", note + memory(row)))
    return lines


def rows(found: dict[str, Any], name: str) -> list[Row]:
    return found.get(name, {}).get("rows", [])


def rate(row: Row, key: str, unit: str) -> str:
    if key not in row:
        return ""
    return f"{'~' if row.get('steady') is False else ''}{row[key]:.4g} {unit}"


def left(row: Row) -> str:
    return row.get("error") or (f"left out: {row['left_out']}" if "left_out" in row else "")


def memory(row: Row) -> str:
    return f"; peak {row['peak_bytes'] / 2**30:.1f} GiB" if row.get("peak_bytes") else ""


def aim(reached: bool, said: str) -> str:
    return f"{'reached' if reached else 'MISSED'}: {said}"


def key_of(row: Row) -> str:
    words = [f"{k} {row[k]}" for k in ("classes", "chunk", "at_once", "order") if k in row]
    return ", ".join(words)
