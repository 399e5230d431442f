import { createRegistry, type Registry } from '../../src/registry/registry.js'
import type { SyncEvent } from '../../src/sync/event.js'
import { silentLogger } from '../../src/sync/logger.js'
import { FakeWorld } from '../link/fake-environment.js'
import { MemoryGroup, type MemoryStore } from '../strong/memory-store.js'

export interface RegistryServer extends Registry {
  readonly serverId: string
  readonly store: MemoryStore
  readonly events: SyncEvent[]
}

/** Several servers' registries on one group in memory, with time by hand. */
export class RegistryMesh {
  readonly world = new FakeWorld()
  readonly group = new MemoryGroup(this.world.environment())
  readonly servers: RegistryServer[] = []
  live: string[] = []

  server(serverId: string): RegistryServer {
    const store = this.group.client(serverId)
    const events: SyncEvent[] = []
    const registry = createRegistry({
      store,
      environment: this.world.environment(),
      serverId,
      liveServers: () => this.live,
      onEvent: (event) => events.push(event),
      logger: silentLogger,
      leaseTtlMs: 3_000,
    })
    registry.start()
    const server = { ...registry, serverId, store, events }
    this.servers.push(server)
    this.live.push(serverId)
    return server
  }

  pass(ms: number): Promise<void> {
    return this.world.pass(ms)
  }

  /** Lets time pass until the promise has settled; gives its result or its error. */
  async settle<T>(work: Promise<T>, maxMs = 30_000): Promise<T> {
    let settled = false
    const watched = work.finally(() => {
      settled = true
    })
    watched.catch(() => undefined)
    for (let ms = 0; !settled && ms < maxMs; ms += 20) await this.world.pass(20)
    if (!settled) throw new Error(`not settled within ${maxMs} ms`)
    return watched
  }

  keys(prefix: string): string[] {
    return this.group.machine.list({ prefix, limit: 100_000 }).map(({ key }) => key)
  }
}
