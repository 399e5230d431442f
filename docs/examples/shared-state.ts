import { log } from 'node:console'
import { randomBytes } from 'node:crypto'
import { MeshNode } from 'silo-mesh'

const common = { clusterId: 'skyblock', secret: randomBytes(32), listen: { host: '127.0.0.1', port: 0 } }
await using first = await MeshNode.start({ ...common, serverId: 'first', found: true })
await using second = await MeshNode.start({ ...common, serverId: 'second', peers: [first.address] })
await second.ready

// Published events reach every server that is there within the retention time, each once per run of a node.
const events = second.events()
first.publish({ type: 'STORAGE_SYNC_FULL', entityType: 'storage', entityId: 'vault' })
for await (const event of events) {
  if (event.origin !== 'first' || event.entityType !== 'storage') continue
  log('second hears', event.type, event.entityId)
  break
}

// Small shared values: the last writer wins. For hints and settings, never for quantities.
await first.setState('motd', Buffer.from('welcome'), { timeToLiveMs: 60_000 }).reached('STRONG')
log('motd:', Buffer.from(second.getState('motd') ?? []).toString())
