import { log } from 'node:console'
import { randomBytes } from 'node:crypto'
import { InsufficientRightsError, MeshNode } from 'silo-mesh'

const common = { clusterId: 'skyblock', secret: randomBytes(32), listen: { host: '127.0.0.1', port: 0 } }
await using north = await MeshNode.start({ ...common, serverId: 'north', found: true })
await using south = await MeshNode.start({ ...common, serverId: 'south', peers: [north.address] })
await south.ready

// The server that deposits has the rights: it may take out without asking anybody.
await north.storage('vault').deposit('minecraft:emerald', 10).reached('STRONG')
while (south.storage('vault').quantity('minecraft:emerald') < 10n) await new Promise(setImmediate)

// The application must be able to take items back from a player whose withdrawal lost a conflict.
for (const node of [north, south]) {
  node.on('compensated', (lost) => {
    log(`take ${lost.amount} ${lost.item} back from the player on ${lost.serverId}`)
    node.acknowledgeCompensation(lost.id)
  })
}

// 'backed': borrows the rights first, and fails with a clear error instead of taking a risk.
const safe = await south.storage('vault').withdraw('minecraft:emerald', 4, { mode: 'backed' })
log('south took', safe.amount, safe.kind)

// Cut the two apart. Each side goes on with what it may.
north.setCut(['south'])
south.setCut(['north'])
const backed = north.storage('vault').tryWithdraw('minecraft:emerald', 6)
log('north took', backed?.amount, backed?.kind)
try {
  await south.storage('vault').withdraw('minecraft:emerald', 5, { mode: 'backed', timeoutMs: 200 })
} catch (error) {
  if (!(error instanceof InsufficientRightsError)) throw error
  log('south was refused, holders:', error.holders)
}
// Optimistic: six are visible here, so it takes them, provisionally. North has taken the same six.
const risky = south.storage('vault').withdrawNow('minecraft:emerald', 6)
log('south took', risky.amount, risky.kind)

// Heal. The provisional withdrawal loses, its own server puts the items back, once.
north.setCut([])
south.setCut([])
log('settled:', await risky.settled)
log('left:', south.storage('vault').quantity('minecraft:emerald'))
