#!/usr/bin/env bash
# The benchmarks, and the comparison of the optimizers on a toy.
#   benchmarks_test.sh BIN   (the folder with the programs)
source "$(dirname "${BASH_SOURCE[0]}")/support.sh"

# ---- blast_convergence
expect 0 "" "$bin/blast_convergence" --size 24 --blocks 2 --rank 2 --larger-rank 4 --iterations 30 --out "$work/curves.svg"
if [ "$(grep -c "^| .* matrix | [24] |" "$work/out")" -eq 8 ] && python3 -c "
import sys, xml.dom.minidom
assert len(xml.dom.minidom.parse(sys.argv[1]).getElementsByTagName('g')) == 2
" "$work/curves.svg"; then ok; else bad "blast_convergence: $(cat "$work/out")"; fi
expect 2 "--blocks 5 must divide --size 24" "$bin/blast_convergence" --size 24 --blocks 5 --out "$work/y"
expect 2 "--larger-rank 32 is smaller than --rank 64; give one that is not" "$bin/blast_convergence" --rank 64 --out "$work/y.svg"
expect 2 "y.png: the picture is written as SVG; let the name end in .svg" "$bin/blast_convergence" --size 24 --out "$work/y.png"
expect 2 "y/curves.svg: No such file" "$bin/blast_convergence" --size 24 --out "$work/y/curves.svg"
if [ -s "$work/out" ]; then bad "blast_convergence began before it looked at --out: $(cat "$work/out")"; else ok; fi

# ---- bench_layers
expect 0 "" "$bin/bench_layers" --layers "dense;low_rank:rank=8;blast:blocks=2,rank=8" --shapes 32x48,48x16 --tokens 1,64 --repeats 2
if [ "$(wc -l <"$work/out")" -eq 24 ] && python3 -c "
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
keys = 'layer in out tokens dtype device threads pass ms ms_min gflops dense_ms speedup mac_ratio efficiency'.split()
assert all(list(row) == keys for row in rows)
assert all(abs(row['efficiency'] - row['speedup'] / row['mac_ratio']) < 1e-9 and row['ms_min'] <= row['ms'] for row in rows)
assert all(abs(row['speedup'] * row['ms'] / row['dense_ms'] - 1) < 1e-9 for row in rows)
share = {'dense': lambda i, o: i * o, 'low_rank:rank=8': lambda i, o: 8 * (i + o), 'blast:blocks=2,rank=8': lambda i, o: 8 * (i + o + 4)}
assert all(abs(row['mac_ratio'] * share[row['layer']](row['in'], row['out']) / (row['in'] * row['out']) - 1) < 1e-9 for row in rows)
" "$work/out"; then ok; else bad "bench_layers: $(head -3 "$work/out")"; fi
expect 0 "" "$bin/bench_layers" --table --layers low_rank:rank=8 --shapes 32x48 --tokens 8 --repeats 1
if [ "$(grep -cE '^low_rank:rank=8 +32 x 48 +8 (for|back)ward( +[0-9.]+){5} +2\.40 +[0-9.]+$' "$work/out")" -eq 2 ]; then ok
else bad "the table: $(cat "$work/out")"; fi
# A sweep has layers and shapes of its own, unless they are given.
expect 0 "" "$bin/bench_layers" --sweep --shapes 192x96 --tokens 8 --repeats 1
kinds=$(grep -o '"layer":"[a-z0-9_]*' "$work/out" | sort -u | wc -l)
if [ "$kinds" -eq 5 ] && [ "$(wc -l <"$work/out")" -eq 22 ]; then ok
else bad "a sweep of $kinds kinds: $(cut -c-80 "$work/out")"; fi
expect 0 "" "$bin/bench_layers" --sweep --layers low_rank:rank=8 --tokens 1 --repeats 1
if [ "$(wc -l <"$work/out")" -eq 12 ]; then ok; else bad "the shapes of a sweep: $(cut -c-80 "$work/out")"; fi
expect 2 "is not INxOUT" "$bin/bench_layers" --shapes 32
expect 2 "rank must be from 1 to 32" "$bin/bench_layers" --shapes 32x48 --layers low_rank:rank=33
expect 2 "must name at least one each" "$bin/bench_layers" --tokens ,

# ---- bench_optimizers
expect 0 "" "$bin/bench_optimizers" --models vit_tiny --layers "dense;blast:blocks=3,rank=8" --optimizers sgd,precgd --batch 1 --passes 1 --device cpu
if [ "$(wc -l <"$work/out")" -eq 4 ] && python3 -c "
import json, sys
for line in open(sys.argv[1]):
    row = json.loads(line)
    assert row['device'] == 'cpu', row
    step = row['forward_backward_ms'] + row['clip_ms'] + row['update_ms']
    assert 0 < row['share'] < 1 and abs(row['share'] * step - row['update_ms']) < 1e-9 * step, row
    assert row['longest_update_ms'] >= row['update_ms'] > 0 and row['state_bytes'] > 0, row
" "$work/out"; then ok; else bad "bench_optimizers: $(head -3 "$work/out")"; fi
expect 0 "" "$bin/bench_optimizers" --table --models vit_tiny --layers blast:blocks=3,rank=8 --optimizers sgd,muon \
  --batch 1 --passes 1
if [ "$(grep -cE '^vit_tiny +blast:blocks=3,rank=8 +(sgd|muon) +1( +[0-9.]+){7} +[0-9.]+%$' "$work/out")" -eq 2 ]; then ok
else bad "the table: $(cat "$work/out")"; fi
expect 2 "valid are gpt_mini, vit_tiny" "$bin/bench_optimizers" --models vit
expect 2 "optimizer: unknown name" "$bin/bench_optimizers" --optimizers adam
for list in --models=, --optimizers=, --layers=";"; do expect 2 "must name at least one each" "$bin/bench_optimizers" "$list"; done

# ---- the comparison of the optimizers, on a toy
compare=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../compare" && pwd)
expect 0 "" env PYTHONDONTWRITEBYTECODE=1 python3 "$compare/optimizers_test.py"
toy=(python3 "$compare/optimizers.py" "$bin" --out "$work/compare" --vit-data "$work/images" --gpt-data "$work/text"
     --layers dense --factors 1,1e30 --vit-steps 10 --gpt-steps 10 --vit-args "--depth 1 --width 16 --heads 2 --batch 8"
     --gpt-args "--depth 1 --width 16 --heads 2 --context 16 --batch 4 --vocab 300" --bench-args "--optimizers adamw,sgd --passes 1")
expect 0 "" "${toy[@]}" --optimizers sgd --budget 0
if grep -q "at least 8 runs are left" "$work/out"; then ok; else bad "a comparison without time: $(cat "$work/out")"; fi
expect 0 "" "${toy[@]}" --optimizers sgd
if [ "$(grep -cE '^\| (adamw|sgd) \|.* 0\.3: .* 1e\+30: diverged \|.*±' "$work/compare/table.md")" -eq 4 ]; then ok; else bad "$(cat "$work/compare/table.md")"; fi
expect 0 "" "${toy[@]}" --optimizers sgd --list
if [ -s "$work/out" ] && grep -q . "$work/out"; then bad "runs are left: $(cat "$work/out")"; else ok; fi
expect 1 "were made with --gpt-steps 10" "${toy[@]}" --gpt-steps 11

finish
