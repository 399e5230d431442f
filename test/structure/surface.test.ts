import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import * as surface from '../../src/index.js'
import * as errors from '../../src/sync/errors.js'
import { VERSION } from '../../src/version.js'
import { parse, ROOT, visit } from './source.js'

/**
 * `UPDATE_TABLES=1 node --import=tsx test/structure/surface.test.ts` writes docs/errors.md and exports.txt anew:
 * whoever changes the surface sees it in the commit.
 */
const UPDATE = process.env.UPDATE_TABLES === '1'
const ERRORS_TABLE = join(ROOT, 'docs/errors.md')
const EXPORTS_LIST = join(ROOT, 'test/structure/exports.txt')

interface ErrorFact {
  readonly name: string
  readonly code: string
  readonly retryable: boolean
  readonly indeterminate: boolean
  readonly meaning: string
}

const ERRORS_SOURCE = parse('sync/errors.ts', readFileSync(join(ROOT, 'src/sync/errors.ts'), 'utf8'))

/** What the source says of each class; a class without a code of its own has that of the class it extends. */
function errorFacts(): ErrorFact[] {
  const facts = new Map<string, ErrorFact>()
  visit(ERRORS_SOURCE.tree, (node) => {
    if (
      !ts.isClassDeclaration(node) ||
      node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.AbstractKeyword)
    )
      return
    const parent = node.heritageClauses?.[0]?.types[0]?.expression.getText() ?? ''
    const above = facts.get(parent)
    const field = (name: string) =>
      node.members.find(
        (member): member is ts.PropertyDeclaration =>
          ts.isPropertyDeclaration(member) && member.name.getText() === name,
      )?.initializer
    const flag = (name: 'retryable' | 'indeterminate') => {
      const value = field(name)
      return value ? value.kind === ts.SyntaxKind.TrueKeyword : (above?.[name] ?? false)
    }
    const code = field('code')
    const documentation = ts.getJSDocCommentsAndTags(node).find(ts.isJSDoc)
    facts.set(node.name!.text, {
      name: node.name!.text,
      code: code && ts.isStringLiteral(code) ? code.text : (above?.code ?? ''),
      retryable: flag('retryable'),
      indeterminate: flag('indeterminate'),
      meaning: ts.getTextOfJSDocComment(documentation?.comment)?.replace(/\s+/g, ' ') ?? '',
    })
  })
  return [...facts.values()]
}

function errorsTable(): string {
  const word = (value: boolean) => (value ? 'yes' : 'no')
  const rows = errorFacts().map(
    ({ name, code, retryable, indeterminate, meaning }) =>
      `| \`${code}\` | \`${name}\` | ${word(retryable)} | ${word(indeterminate)} | ${meaning} |`,
  )
  return [
    '# Errors',
    '',
    'Every error that silo-mesh raises on purpose is a class of its own with a stable `code`. *Retryable*: the same',
    'call may succeed later, unchanged. *Indeterminate*: the operation may have happened or may yet happen; retry',
    'only with the same operation id. A test holds this table against `src/sync/errors.ts`.',
    '',
    '| code | class | retryable | indeterminate | meaning |',
    '| --- | --- | --- | --- | --- |',
    ...rows.sort(),
    '',
  ].join('\n')
}

t.test('errors: one class per code, exported, explained, and in the table', async (t) => {
  const facts = errorFacts()
  t.ok(facts.length > 15)
  t.equal(new Set(facts.map(({ code }) => code)).size, facts.length, 'every code once')
  const exported = surface as unknown as Record<string, unknown>
  for (const { name, code, meaning } of facts) {
    t.match(code, /^[A-Z]+(_[A-Z]+)*$/, name)
    t.not(meaning, '', `${name} says what it means`)
    t.equal(exported[name], (errors as Record<string, unknown>)[name], `${name} is exported`)
  }
  const classes = Object.entries(errors).filter(
    ([, value]) => typeof value === 'function' && value.prototype instanceof errors.SiloMeshError,
  )
  t.same(classes.map(([name]) => name).sort(), facts.map(({ name }) => name).sort(), 'all of them are seen')
  if (UPDATE) writeFileSync(ERRORS_TABLE, errorsTable())
  t.equal(readFileSync(ERRORS_TABLE, 'utf8'), errorsTable(), 'docs/errors.md')
})

t.test('an error says at run time what the table says', async (t) => {
  for (const { name, code, retryable, indeterminate } of errorFacts()) {
    const Class = (errors as unknown as Record<string, new (...given: unknown[]) => errors.SiloMeshError>)[
      name
    ]!
    const error = new Class('a', 1, 'c', 'd', [])
    t.match(error, { name, code, retryable, indeterminate })
    t.ok(error.message.length > 0)
  }
})

/** Every exported name, types marked as such. A star would export whatever somebody adds. */
function exportsOfIndex(): string[] {
  const { tree } = parse('index.ts', readFileSync(join(ROOT, 'src/index.ts'), 'utf8'))
  const names: string[] = []
  visit(tree, (node) => {
    if (!ts.isExportDeclaration(node)) return
    if (!node.exportClause || !ts.isNamedExports(node.exportClause))
      names.push(`* from ${node.moduleSpecifier?.getText()}`)
    else
      for (const element of node.exportClause.elements) {
        names.push(`${node.isTypeOnly || element.isTypeOnly ? 'type ' : ''}${element.name.text}`)
      }
  })
  return names.sort()
}

t.test('what a user can import is a list that somebody has agreed to', async (t) => {
  const list = exportsOfIndex()
  t.notOk(
    list.some((name) => name.startsWith('*')),
    'no star',
  )
  t.same(
    list.filter((name) => !name.startsWith('type ')),
    Object.keys(surface).sort(),
    'and it is what is there',
  )
  if (UPDATE) writeFileSync(EXPORTS_LIST, `${list.join('\n')}\n`)
  t.same(list, readFileSync(EXPORTS_LIST, 'utf8').trim().split('\n'), 'test/structure/exports.txt')
})

t.test('the version is that of the package', async (t) => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  t.equal(VERSION, version)
})
