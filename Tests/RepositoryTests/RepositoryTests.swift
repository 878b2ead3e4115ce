import MeshModel
import Testing

/// The rules of this repository, applied to this checkout.
@Suite struct RepositoryTests {
    let tree = SourceTree.repository

    /// One issue for each finding that no exception covers.
    private func expectNone(_ findings: [Finding]) {
        for finding in findings where !RuleException.all.contains(where: { $0.covers(finding) }) {
            Issue.record("\(finding)")
        }
    }

    @Test func treeIsFound() {
        #expect(tree.exists("Package.swift"))
        #expect(tree.swift.count > 50)
    }

    @Test func codeFollowsThePatternRules() throws {
        try expectNone(patternFindings())
    }

    private func patternFindings() throws -> [Finding] {
        let rules = PatternRule.everywhere + PatternRule.program + PatternRule.purity + PatternRule.tests
        return try tree.swift.flatMap { file in try rules.flatMap { try $0.findings(in: file) } }
            + tree.files.flatMap { try PatternRule.machinePath.findings(in: $0) }
    }

    @Test func pureCodeNeverLoopsInHashOrder() throws {
        try expectNone(tree.swift.flatMap(HashOrderRule.findings))
    }

    @Test func targetsImportWhatTheyDeclareFromLowerRings() throws {
        try expectNone(ringFindings())
    }

    private func ringFindings() throws -> [Finding] {
        let manifest = try PackageManifest(#require(tree.file("Package.swift")).text)
        let files = tree.files.filter(\.isSwift)
        return try RingRules.manifestFindings(manifest) + RingRules.simulatorFindings(manifest)
            + files.flatMap { try RingRules.importFindings(in: $0, manifest: manifest) }
            + files.flatMap(RingRules.purityFindings)
    }

    @Test func filesAndFunctionsAreShort() {
        expectNone(lengthFindings())
    }

    @Test func nothingIsLeftOver() throws {
        try expectNone(tidyFindings())
    }

    @Test func foldersOfTheRuntimeAreFloors() throws {
        try expectNone(FolderRules.findings(tree.files))
    }

    private func tidyFindings() throws -> [Finding] {
        let manifest = try PackageManifest(#require(tree.file("Package.swift")).text)
        return try TidyRules.dependencyFindings(manifest, tree.files) + TidyRules.declarationFindings(tree.files)
            + tree.swift.flatMap(TidyRules.switchFindings)
    }

    private func lengthFindings() -> [Finding] {
        tree.swift.flatMap(LengthRules.fileFindings) + tree.swift.flatMap(LengthRules.functionFindings)
    }

    @Test func filesAreNamedAfterWhatIsInThem() {
        let empty = tree.swift.filter {
            $0.name.wholeMatch(of: #/\w*(Utils?|Helpers?|Common|Manager|Misc)\.swift/#) != nil
        }
        #expect(empty.map(\.path) == [])
    }

    @Test func linksInDocumentsLeadSomewhere() throws {
        try expectNone(tree.markdown.flatMap { try MarkdownRules.linkFindings(in: $0, tree: tree) })
    }

    @Test func everyErrorCodeIsDocumented() throws {
        let page = try #require(tree.file(ReferenceRules.errors)).text
        try expectNone(ReferenceRules.errorFindings(page: page))
    }

    @Test func everyLimitIsDocumented() throws {
        let page = try #require(tree.file(ReferenceRules.limits)).text
        let source = tree.swift.filter { $0.path.hasPrefix("Sources/MeshModel/Limits") }.map(\.text).joined()
        try expectNone(ReferenceRules.limitFindings(page: page, source: source))
    }

    @Test func everyCloseReasonIsDocumented() throws {
        let page = try #require(tree.file(ReferenceRules.workerSession)).text
        let source = try #require(tree.file("Sources/MeshSessions/CloseReason.swift")).text
        try expectNone(ReferenceRules.closeReasonFindings(page: page, source: source))
    }

    @Test func everyMetricIsDocumented() throws {
        let page = try #require(tree.file(ReferenceRules.metrics)).text
        let names = try tree.swift.filter { $0.path.hasPrefix("Sources/") }
            .flatMap { try ReferenceRules.metricNames(in: $0.text) }
        try expectNone(ReferenceRules.metricFindings(page: page, names: names))
    }

    @Test func everyMetricHasAHelpLine() throws {
        let help = try #require(tree.file("Sources/MeshTelemetry/MetricHelp.swift")).text
        let names = try tree.swift.filter { $0.path.hasPrefix("Sources/") }
            .flatMap { try ReferenceRules.metricNames(in: $0.text) }
        #expect(names.filter { !help.contains("\"\($0)\":") } == [])
    }

    @Test func everyExceptionIsNeededAndHasAReason() throws {
        let findings =
            try patternFindings() + ringFindings() + lengthFindings() + tidyFindings()
            + tree.swift.flatMap(HashOrderRule.findings)
            + tree.markdown.flatMap { try MarkdownRules.linkFindings(in: $0, tree: tree) }
        let idle = RuleException.all.filter { exception in !findings.contains(where: exception.covers) }
        #expect(idle.map { "\($0.path): \($0.rule)" } == [])
        #expect(RuleException.all.allSatisfy { $0.reason.split(separator: " ").count > 3 })
    }
}
