import { log } from 'node:console'
import { randomBytes } from 'node:crypto'
import { InsufficientRightsError, MeshNode } from 'silo-mesh'

await using node = await MeshNode.start({
  clusterId: 'skyblock',
  serverId: 'workshop',
  secret: randomBytes(32),
  found: true,
})
const chest = node.storage('chest')
chest.deposit('minecraft:iron_ingot', 8)
chest.deposit('minecraft:stick', 2)

// A recipe: all or nothing, here, on disk and on every other server, also across two storages.
const recipe = [
  { item: 'minecraft:iron_ingot', withdraw: 3 },
  { item: 'minecraft:stick', withdraw: 2 },
  { item: 'minecraft:iron_pickaxe', deposit: 1, storage: 'tools' },
]
// With an operation id a retry, after a timeout or a restart, takes effect once.
await chest.batch(recipe, { operationId: 'craft-4711' }).durable
await chest.batch(recipe, { operationId: 'craft-4711' }).durable
log('left:', [...chest.items()])
log('made:', node.storage('tools').quantity('minecraft:iron_pickaxe'))

try {
  chest.batch(recipe, { operationId: 'craft-4712' })
} catch (error) {
  if (!(error instanceof InsufficientRightsError)) throw error
  log('refused:', error.code, chest.quantity('minecraft:iron_ingot'))
}
