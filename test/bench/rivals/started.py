"""Each guest runs: what a script with proxmoxer does, written as well as one would.

python3 started.py PORT SECRET NODE PASSES
"""
import sys
import time

from proxmoxer import ProxmoxAPI

port, secret, node_name, passes = sys.argv[1:]
api = ProxmoxAPI(
    f"127.0.0.1:{port}",
    user="agent@pve",
    token_name="agent",
    token_value=secret,
    verify_ssl=False,
)
node = api.nodes(node_name)
for _ in range(int(passes)):
    down = [vm["vmid"] for vm in node.qemu.get() if vm["status"] != "running"]
    down_containers = [ct for ct in node.lxc.get() if ct["status"] != "running"]
    for vmid in down:
        task = node.qemu(vmid).status.start.post()
        while node.tasks(task).status.get()["status"] == "running":
            time.sleep(0.2)
