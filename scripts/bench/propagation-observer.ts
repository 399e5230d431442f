import { fileURLToPath } from 'node:url'
import { MeshNode } from '../../src/index.js'
import { serveParent, tellParent } from './child.js'
import { RedisClient } from './redis-client.js'
import { monotonicMs } from './statistics.js'

export const STORAGE = 'vault'
export const ITEM = 'minecraft:diamond'
export const CHANNEL = 'changes'

/** A change as the observing process saw it, with the machine's monotonic clock. */
export interface Sighting {
  readonly system: 'mesh' | 'redis'
  readonly quantity: number
  readonly atMs: number
}

let node: MeshNode | undefined
let client: RedisClient | undefined

async function watchMesh(options: { secret: Uint8Array; dataDir: string; peer: string }): Promise<void> {
  const { secret, dataDir, peer } = options
  const started = await MeshNode.start({
    clusterId: 'bench',
    serverId: 'observer',
    secret,
    dataDir,
    peers: [peer],
  })
  node = started
  await started.ready
  const changes = started.storage(STORAGE).changes()
  const watch = async () => {
    for await (const { quantity } of changes) {
      tellParent({ system: 'mesh', quantity: Number(quantity), atMs: monotonicMs() } satisfies Sighting)
    }
  }
  watch().catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
}

async function watchRedis(port: number): Promise<void> {
  client = await RedisClient.connect(port)
  client.onMessage = (_, message) => {
    tellParent({ system: 'redis', quantity: Number(message), atMs: monotonicMs() } satisfies Sighting)
  }
  await client.subscribe(CHANNEL)
}

const handlers = { watchMesh, watchRedis }
export type ObserverChild = typeof handlers

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  serveParent(handlers, async () => {
    client?.close()
    await node?.stop()
  })
}
