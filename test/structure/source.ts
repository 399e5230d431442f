import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'

export const ROOT = join(import.meta.dirname, '../..')

/** One file of src: its path below src, its text and its syntax tree. */
export interface Source {
  readonly path: string
  readonly text: string
  readonly tree: ts.SourceFile
}

export function sources(): Source[] {
  return readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => name.replaceAll('\\', '/'))
    .sort()
    .map((path) => parse(path, readFileSync(join(ROOT, 'src', path), 'utf8')))
}

export function parse(path: string, text: string): Source {
  return { path, text, tree: ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true) }
}

export interface Import {
  readonly module: string
  /** 'default' and '*' for those forms; empty for a bare import. */
  readonly names: readonly string[]
  readonly typeOnly: boolean
}

/** Static, re-exporting and dynamic imports; a dynamic one of no fixed name has the module '?'. */
export function importsOf({ tree }: Source): Import[] {
  const imports: Import[] = []
  visit(tree, (node) => {
    if (ts.isImportDeclaration(node)) {
      const clause = node.importClause
      const bindings = clause?.namedBindings
      const names = clause?.name ? ['default'] : []
      if (bindings && ts.isNamespaceImport(bindings)) names.push('*')
      else if (bindings)
        names.push(...bindings.elements.map(({ name, propertyName }) => (propertyName ?? name).text))
      imports.push({
        module: textOf(node.moduleSpecifier),
        names,
        typeOnly: clause?.phaseModifier === ts.SyntaxKind.TypeKeyword,
      })
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier) {
      imports.push({ module: textOf(node.moduleSpecifier), names: ['*'], typeOnly: node.isTypeOnly })
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      imports.push({
        module: node.arguments[0] ? textOf(node.arguments[0]) : '?',
        names: ['*'],
        typeOnly: false,
      })
    } else if (
      ts.isCallExpression(node) &&
      ts.isIdentifier(node.expression) &&
      node.expression.text === 'require'
    ) {
      imports.push({ module: '?', names: ['*'], typeOnly: false })
    }
  })
  return imports
}

/** Names that are read and that the file itself does not declare: globals, and members as `Math.random`. */
export function globalsOf({ tree }: Source): Set<string> {
  const declared = new Set<string>()
  const used = new Set<string>()
  visit(tree, (node) => {
    if (!ts.isIdentifier(node)) return
    const { parent } = node
    if (isDeclarationName(parent, node)) declared.add(node.text)
    else if (ts.isPropertyAccessExpression(parent) && parent.name === node) {
      if (ts.isIdentifier(parent.expression)) used.add(`${parent.expression.text}.${node.text}`)
    } else if (!isPropertyName(parent, node)) used.add(node.text)
  })
  return new Set([...used].filter((name) => !declared.has(name.split('.')[0]!)))
}

function isDeclarationName(parent: ts.Node, name: ts.Identifier): boolean {
  return (
    (ts.isVariableDeclaration(parent) ||
      ts.isParameter(parent) ||
      ts.isBindingElement(parent) ||
      ts.isFunctionDeclaration(parent) ||
      ts.isClassDeclaration(parent) ||
      ts.isImportSpecifier(parent) ||
      ts.isImportClause(parent) ||
      ts.isNamespaceImport(parent)) &&
    parent.name === name
  )
}

function isPropertyName(parent: ts.Node, name: ts.Identifier): boolean {
  return (
    (ts.isPropertyAssignment(parent) ||
      ts.isPropertySignature(parent) ||
      ts.isPropertyDeclaration(parent) ||
      ts.isMethodDeclaration(parent) ||
      ts.isMethodSignature(parent) ||
      ts.isGetAccessorDeclaration(parent) ||
      ts.isSetAccessorDeclaration(parent) ||
      ts.isEnumMember(parent)) &&
    parent.name === name
  )
}

export function visit(node: ts.Node, look: (node: ts.Node) => void): void {
  look(node)
  ts.forEachChild(node, (child) => visit(child, look))
}

export function textOf(node: ts.Node): string {
  return ts.isStringLiteralLike(node) ? node.text : '?'
}
