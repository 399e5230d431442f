import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MeshNode, type MeshNodeOptions } from '../../src/index.js'

export const SECRET = new Uint8Array(32).fill(7)

/** Real nodes on loopback with quick intervals; everything is stopped and removed at the end of the test. */
export class TestMesh {
  readonly directory = mkdtempSync(join(tmpdir(), 'silo-mesh-test-'))
  private readonly running = new Set<MeshNode>()

  async start(serverId: string, options: Partial<MeshNodeOptions> = {}): Promise<MeshNode> {
    const node = await MeshNode.start({
      clusterId: 'test',
      serverId,
      secret: SECRET,
      dataDir: join(this.directory, serverId),
      listen: { host: '127.0.0.1', port: 0 },
      syncIntervalMs: 100,
      heartbeatIntervalMs: 100,
      rejoinGraceMs: 300,
      ...options,
    })
    this.running.add(node)
    node.on('stopped', () => this.running.delete(node))
    return node
  }

  /** A memory-only node. */
  startInMemory(serverId: string, options: Partial<MeshNodeOptions> = {}): Promise<MeshNode> {
    const { dataDir: _, ...rest } = { dataDir: undefined, ...options }
    return this.startWithout(serverId, rest)
  }

  private async startWithout(serverId: string, options: Partial<MeshNodeOptions>): Promise<MeshNode> {
    const node = await MeshNode.start({
      clusterId: 'test',
      serverId,
      secret: SECRET,
      listen: { host: '127.0.0.1', port: 0 },
      syncIntervalMs: 100,
      heartbeatIntervalMs: 100,
      rejoinGraceMs: 300,
      ...options,
    })
    this.running.add(node)
    node.on('stopped', () => this.running.delete(node))
    return node
  }

  async close(): Promise<void> {
    await Promise.all([...this.running].map((node) => node.stop()))
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Waits until the condition holds; the test's own timeout is the limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10))
}

/** Equal vectors and equal checksums in all partitions that both have, and no own writes beside these. */
export function converged(...nodes: MeshNode[]): boolean {
  const views = nodes.map((node) => node.status().partitions.filter(({ partition }) => partition === ''))
  const texts = views.map((partitions) =>
    JSON.stringify(
      partitions.map(({ versionVector, checksum, settled }) => [
        Object.entries(versionVector).sort(([left], [right]) => (left < right ? -1 : 1)),
        checksum,
        settled,
      ]),
    ),
  )
  const areNumbered = views.every((partitions) => partitions.every(({ unnumbered }) => unnumbered === 0))
  return areNumbered && texts.every((text) => text === texts[0])
}
