import { log } from 'node:console'
import { randomBytes } from 'node:crypto'
import { InsufficientQuantityError, MeshNode } from 'silo-mesh'

// Every server of a mesh has the same secret; keep it in a file (`secretFile`) in real life.
const secret = randomBytes(32)
const common = { clusterId: 'skyblock', secret, listen: { host: '127.0.0.1', port: 0 } }

// One node per game server. With `dataDir` everything survives a crash; without it, as here, a restart begins anew.
await using lobby = await MeshNode.start({ ...common, serverId: 'lobby-1', found: true })
await using mine = await MeshNode.start({ ...common, serverId: 'mine-1', peers: [lobby.address] })
await mine.ready

// A deposit is synchronous and local: it always succeeds, and every later read here sees it.
const receipt = lobby.storage('vault').deposit('minecraft:diamond', 100)
log('lobby-1 sees', lobby.storage('vault').quantity('minecraft:diamond'))

await receipt.durable // this server's journal holds it
await receipt.reached('QUORUM', { timeoutMs: 2_000 }) // a majority's journals hold it

// It spreads by itself; wait here only so that the lines below always see it.
while (mine.storage('vault').quantity('minecraft:diamond') < 100n) await new Promise(setImmediate)

// Within the tick: backed by this server's rights and final, or undefined.
const taken = lobby.storage('vault').tryWithdraw('minecraft:diamond', 30)
log('lobby-1 takes', taken?.amount, taken?.kind)

// Elsewhere: at once, and settled in the background when the rights are not here yet.
const other = await mine.storage('vault').withdraw('minecraft:diamond', 50)
log('mine-1 takes', other.amount, other.kind, await other.settled)

try {
  mine.storage('vault').withdrawNow('minecraft:diamond', 1_000)
} catch (error) {
  if (!(error instanceof InsufficientQuantityError)) throw error
  log('refused:', error.code, error.visible)
}

// What changed, by whomever: latest values, so a slow reader never makes a queue grow.
const changes = lobby.storage('vault').changes()
mine.storage('vault').deposit({ id: 'minecraft:diamond_sword', components: { damage: 5 } }, 1)
for await (const { item, quantity } of changes) {
  log('lobby-1 hears of', item, quantity)
  if (item.startsWith('minecraft:diamond_sword')) break
}
