/// What this build calls itself.
enum Software {
    static let version = "0.1.0"

    static var platform: String {
        #if arch(x86_64)
            let architecture = "x86_64"
        #elseif arch(arm64)
            let architecture = "arm64"
        #else
            let architecture = "other"
        #endif
        #if os(Linux)
            return "linux \(architecture)"
        #else
            return "other \(architecture)"
        #endif
    }
}
