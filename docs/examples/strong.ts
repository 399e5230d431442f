import { log } from 'node:console'
import { randomBytes } from 'node:crypto'
import { ConflictError, MeshNode } from 'silo-mesh'

const common = { clusterId: 'skyblock', secret: randomBytes(32), listen: { host: '127.0.0.1', port: 0 } }
// Exactly one server founds the strong group, at its first start; all others are taken in by it.
await using lobby = await MeshNode.start({ ...common, serverId: 'lobby-1', found: true })
await using mine = await MeshNode.start({ ...common, serverId: 'mine-1', peers: [lobby.address] })
await mine.ready

// An anchor exists everywhere or nowhere; one block position has one anchor.
const chest = await lobby.anchors.create({
  storage: 'vault',
  world: 'overworld',
  position: { x: 1, y: 64, z: 1 },
})
try {
  await lobby.anchors.create({ storage: 'bank', world: 'overworld', position: { x: 1, y: 64, z: 1 } })
} catch (error) {
  if (!(error instanceof ConflictError)) throw error
  log('refused:', error.code)
}

// Reads are local and may be behind, unless asked to be linearizable.
const hopper = await mine.anchors.create({
  storage: 'bank',
  world: 'overworld',
  position: { x: 9, y: 64, z: 1 },
})
log('lobby-1 sees', (await lobby.anchors.get(hopper.id, { linearizable: true }))?.storage)

const transfer = await mine.transfers.create({ from: chest.id, to: hopper.id, items: ['minecraft:*_ore'] })
log('transfer', transfer.items, transfer.rate)

// One server at a time runs it: moves items at its rate, each move a batch that is never half done.
lobby.storage('vault').deposit('minecraft:iron_ore', 40)
while (mine.storage('bank').quantity('minecraft:iron_ore') < 40n) await new Promise(setImmediate)
const { owner } = mine.transferRun(transfer.id)
log('run by', owner, [...lobby.transferProgress(), ...mine.transferProgress()][0]?.moved)

// A lock of the whole mesh, with a fencing token that only grows and a signal that fires when the lock is lost.
const sold = await mine.executeAtomic('auction:17', (lock) => lock.fencingToken > 0n && !lock.signal.aborted)
log('sold:', sold)

await lobby.anchors.delete(chest.id, { cascade: true })
log('transfers left:', (await lobby.transfers.list()).entries.length)
