import Foundation
import Testing

/// What `make dist` packs, of the executable of this build.
@Suite struct PackageTests {
    @Test func thePackageHoldsTheProgramItsPagesAndItsService() async throws {
        let directory = try TemporaryDirectory()
        let out = "\(directory.path)/dist"
        let packing = try ChildProcess(
            "/bin/bash", [Products.root + "/Packaging/dist.sh", Products.aisbf, out],
            environment: ["DIST_QUICK": "1"])
        try #require(await packing.exitCode(within: 300) == 0, "\(packing.output)")
        let made = packing.output.split(separator: "\n").map(String.init)
        let package = try #require(made.first { $0.hasSuffix(".deb") })
        let archive = try #require(made.first { $0.hasSuffix(".tar.gz") })

        let root = "\(directory.path)/root"
        for arguments in [["-x", package, root], ["-e", package, "\(root)/DEBIAN"]] {
            let unpacking = try ChildProcess("/usr/bin/dpkg-deb", arguments)
            #expect(await unpacking.exitCode(within: 60) == 0, "\(unpacking.output)")
        }
        func text(_ path: String) throws -> String { try String(contentsOfFile: "\(root)/\(path)", encoding: .utf8) }
        let version = try ChildProcess("\(root)/usr/bin/aisbf", ["--version"])
        #expect(await version.exitCode(within: 20) == 0)
        let number = version.output.trimmingCharacters(in: .whitespacesAndNewlines)
        #expect(archive.hasSuffix("aisbf-\(number)-linux-\(machine).tar.gz"))
        let control = try text("DEBIAN/control")
        #expect(control.contains("\nVersion: \(number)\n") && !control.contains(/@[A-Z]+@/), "\(control)")
        #expect(try text("DEBIAN/conffiles") == "/etc/aisbf/node.yaml\n")

        // Nothing of where it was packed.
        let unit = try text("usr/lib/systemd/system/aisbf.service")
        #expect(unit.contains("\nExecStart=/usr/bin/aisbf node run --config /etc/aisbf/node.yaml\n"), "\(unit)")
        #expect(unit.contains("\nStateDirectory=aisbf\n") && unit.contains("\nProtectHome=yes\n"), "\(unit)")
        #expect(!unit.contains("/tmp/"), "\(unit)")

        for path in [
            "usr/share/bash-completion/completions/aisbf", "usr/share/zsh/vendor-completions/_aisbf",
            "usr/share/fish/vendor_completions.d/aisbf.fish",
        ] {
            #expect(try text(path).contains("rotation"))
        }
        let pages = try FileManager.default.contentsOfDirectory(atPath: "\(root)/usr/share/man/man1")
        for page in ["aisbf", "aisbf-node-run", "aisbf-rotation-create", "aisbf-worker-run", "aisbf-local-up"] {
            #expect(pages.contains("\(page).1.gz"), "\(pages)")
        }
        let page = try ChildProcess("/bin/zcat", ["\(root)/usr/share/man/man1/aisbf-node-run.1.gz"])
        #expect(await page.exitCode(within: 20) == 0)
        #expect(page.output.contains(".SH OPTIONS") && page.output.contains("\\fB\\-\\-config\\fR"), "\(page.output)")
    }

    private var machine: String {
        var names = utsname()
        uname(&names)
        return withUnsafeBytes(of: &names.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
