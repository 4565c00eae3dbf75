"""`python -m benchmarks.engine`: see the package."""
from __future__ import annotations
import sys, json, subprocess, statistics, os, tempfile
from pathlib import Path
from benchmarks.engine.models import build, prompts
from benchmarks.engine.work import Work, Report
from benchmarks.verifiers.duel import PEERS, ROOT

class Side:
    def __init__(self, command, work, env=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(f"/tmp/side-{os.getpid()}.err","a"), text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS":"1","OMP_WAIT_POLICY":"PASSIVE", **(env or {})})
        self.process.stdin.write(work.write()); self.process.stdin.flush()
    def step(self):
        self.process.stdin.write("go\n"); self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("step "):
                return Report(**json.loads(line[5:]))
        raise RuntimeError("side ended")
    def close(self):
        self.process.stdin.close(); self.process.wait(timeout=30)

def main():
    size, kind, odt, tdt, n = sys.argv[1:6]
    batch, group, new, fixed = (16,8,256,True) if kind=="fixed" else (32,8,64,False)
    folder=Path("/tmp/engine-models")/size
    warm=folder.with_name(folder.name+"-warm")
    if not warm.exists(): folder.mkdir(parents=True,exist_ok=True); build(size, folder, warm=True)
    texts, rendered = prompts(warm, 512)
    mk=lambda dt: Work(str(warm), texts, rendered, batch, group, new, fixed, "all", 1e-6, int(n)+1, 0, dt)
    ours=Side([sys.executable,"-m","benchmarks.engine.side_ours"],mk(odt))
    peer=Side([str(PEERS),"benchmarks/engine/side_trl.py"],mk(tdt))
    for i in range(int(n)+1):
        a=ours.step(); b=peer.step()
        print(f"ours {a.generate:.2f}+{a.update:.2f} tok {a.tokens} peak {a.peak_mb}   trl {b.generate:.2f}+{b.update:.2f} tok {b.tokens} peak {b.peak_mb}  ratio gen {b.generate/b.tokens/(a.generate/a.tokens):.2f} upd {b.update/b.tokens/(a.update/a.tokens):.2f} whole {b.whole/b.tokens/(a.whole/a.tokens):.2f} rew {a.reward:.2f} {b.reward:.2f}", flush=True)
    ours.close(); peer.close()
main()
